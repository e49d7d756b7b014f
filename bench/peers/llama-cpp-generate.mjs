/**
 * llama.cpp as a peer: a process that loads a GGUF file with the package node-llama-cpp and generates on command, greedily;
 * `bench/support/serve-generation.mjs` has the protocol.
 *
 *     node bench/peers/llama-cpp-generate.mjs FOLDER FILE THREADS SEQUENCE [STREAMS]
 *
 * FOLDER has the package in its node_modules. Everything else is as llama.cpp's own programs have it by default: weights
 * are mapped into memory, attention is fused where that is possible ("auto"), prompts are computed by 512 tokens, and
 * keys and values are kept in f16.
 *
 * Several texts (STREAMS) are sequences of one context, whose next tokens the package computes in one batch, as llama.cpp's
 * own server does.
 *
 * Answers also have `own`, the milliseconds that llama.cpp itself measures (`llama_perf`) for the prompt and for the
 * tokens after the first: without sampling, and without the JavaScript of the package.
 */
import { readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { serve } from '../support/serve-generation.mjs'

const [folder, modelPath, threadsText, sequence, streams = '1'] = process.argv.slice(2)
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
    sequences: Number(streams),
    batchSize: 512,
    threads,
    performanceTracking: true,
    ignoreMemorySafetyChecks: true,
  })
  const sequences = Array.from({ length: Number(streams) }, () => context.getSequence())
  const [text] = sequences
  const greedy = { temperature: 0, yieldEogToken: true }
  return {
    info: {
      package: version,
      release: llama.llamaCppRelease.release,
      kernels: kernels(),
      threads: context.currentThreads,
    },
    async *write(prompt) {
      await text.clearHistory()
      yield* text.evaluate(prompt, greedy)
    },
    async together(prompts, onToken) {
      for (const sequence of sequences) await sequence.clearHistory()
      await Promise.all(
        prompts.map(async (prompt, i) => {
          for await (const _ of sequences[i].evaluate(prompt, greedy)) if (!onToken(i)) break
        }),
      )
    },
    async after() {
      await context.printTimings()
      return { own }
    },
    close: () => llama.dispose(),
  }
})
