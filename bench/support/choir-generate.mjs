/**
 * A process in which Choir generates on command, greedily; `serve-generation.mjs` has the protocol. It runs from a build,
 * as the installed program does, so that its peak memory does not include a TypeScript loader.
 *
 *     node bench/support/choir-generate.mjs BUILD MODEL WEIGHTS THREADS
 *
 * BUILD is a folder such as dist/. MODEL is a run, a folder of transformers or a GGUF file.
 */
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { serve } from './serve-generation.mjs'

const [build, path, weights, threads] = process.argv.slice(2)
const load = (module) => import(pathToFileURL(join(resolve(build), module)))
const { Generator } = await load('use/infer/generation/generator.js')
const { tokenScratch } = await load('use/infer/generation/token-memory.js')
const { loadModel } = await load('use/runs/trained-model.js')

await serve(async () => {
  const choice = { device: 'cpu', math: 'float32', threads: Number(threads), weights }
  const notice = ({ message }) => process.stderr.write(`${message}\n`)
  const model = await loadModel(path, choice, notice, tokenScratch)
  const { runtime, store } = model
  const generator = new Generator(runtime, model.config.model, store)
  const greedy = { temperature: 0, topK: 0, topP: 1 }
  return {
    info: { provider: runtime.provider, threads: runtime.threads },
    write: (prompt) => generator.tokens(prompt, model.config.model.vocabulary, greedy, 0),
    close: async () => {
      generator.release()
      await model.close()
    },
  }
})
