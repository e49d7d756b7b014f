/**
 * llama.cpp as a peer: a process that loads a GGUF file with the package node-llama-cpp and generates on command, greedily;
 * `bench/support/serve-generation.mjs` has the protocol.
 *
 *     node bench/peers/llama-cpp-generate.mjs FOLDER FILE THREADS SEQUENCE
 *
 * FOLDER has the package in its node_modules. Everything else is as llama.cpp's own programs have it by default: weights
 * are mapped into memory, attention is fused where that is possible ("auto"), prompts are computed by 512 tokens, and
 * keys and values are kept in f16.
 *
 * Answers also have `own`, the milliseconds that llama.cpp itself measures (`llama_perf`) for the prompt and for the
 * tokens after the first: without sampling, and without the JavaScript of the package.
 */
import { readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { serve } from '../support/serve-generation.mjs'

const [folder, modelPath, threadsText, sequence] = process.argv.slice(2)
const threads = Number(threadsText)
const root = join(resolve(folder), 'node_modules', 'node-llama-cpp')
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(join(root, 'dist', 'index.js')))
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

let own = {}

/** Lines of `llama_perf_context_print`, such as `prompt eval time =  12.34 ms /  512 tokens (...)`. */
function log(level, text) {
  if (level === LlamaLogLevel.error || level === LlamaLogLevel.fatal) process.stderr.write(`${text}\n`)
  const [, prompt, ms] = /(prompt )?eval time = *([\d.]+) ms/.exec(text) ?? []
  if (ms !== undefined) own = { ...own, [prompt ? 'prefillMs' : 'tokensMs']: Number(ms) }
}

/** The library with the kernels for this processor, such as `libggml-cpu-haswell.so`; null outside Linux. */
function kernels() {
  if (process.platform !== 'linux') return null
  return basename(/\S*\/libggml-cpu\S*/.exec(readFileSync('/proc/self/maps', 'utf8'))?.[0] ?? '') || null
}

const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  maxThreads: threads,
  logLevel: LlamaLogLevel.info,
  logger: log,
})

await serve(async () => {
  const model = await llama.loadModel({ modelPath, gpuLayers: 0, ignoreMemorySafetyChecks: true })
  const context = await model.createContext({
    contextSize: Number(sequence),
    batchSize: 512,
    threads,
    performanceTracking: true,
    ignoreMemorySafetyChecks: true,
  })
  const text = context.getSequence()
  return {
    info: {
      package: version,
      release: llama.llamaCppRelease.release,
      kernels: kernels(),
      threads: context.currentThreads,
    },
    async *write(prompt) {
      await text.clearHistory()
      yield* text.evaluate(prompt, { temperature: 0, yieldEogToken: true })
    },
    async after() {
      await context.printTimings()
      return { own }
    },
    close: () => llama.dispose(),
  }
})
