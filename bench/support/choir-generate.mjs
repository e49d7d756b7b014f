/**
 * A process in which Choir generates on command, greedily; `serve-generation.mjs` has the protocol. It runs from a build,
 * as the installed program does, so that its peak memory does not include a TypeScript loader.
 *
 *     node bench/support/choir-generate.mjs BUILD MODEL WEIGHTS THREADS [STREAMS]
 *
 * BUILD is a folder such as dist/. MODEL is a run, a folder of transformers or a GGUF file. STREAMS is the number of texts
 * that are written at once.
 */
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { serve } from './serve-generation.mjs'

const [build, path, weights, threads, streams] = process.argv.slice(2)
const load = (module) => import(pathToFileURL(join(resolve(build), module)))
const { Generator } = await load('use/infer/generation/generator.js')
const { Contexts } = await load('use/infer/generation/contexts.js')
const { TextState } = await load('use/infer/generation/text-state.js')
const { scratchOfTexts, tokenScratch } = await load('use/infer/generation/token-memory.js')
const { loadModel } = await load('use/runs/trained-model.js')

await serve(async () => {
  const choice = { device: 'cpu', math: 'float32', threads: Number(threads), weights }
  const notice = ({ message }) => process.stderr.write(`${message}\n`)
  const count = Number(streams ?? 1)
  const model = await loadModel(
    path,
    choice,
    notice,
    count > 1 ? (config) => scratchOfTexts(config, count) : tokenScratch,
  )
  const { runtime, store } = model
  const config = model.config.model
  const { vocabulary } = config
  const greedy = { temperature: 0, topK: 0, topP: 1 }
  const info = { provider: runtime.provider, threads: runtime.threads }
  if (count > 1) {
    const contexts = new Contexts(runtime, config, store, { count })
    return {
      info,
      async together(prompts, onToken) {
        const texts = prompts.map((prompt, context) => {
          const text = new TextState(contexts.config, { prompt, vocabulary, sampling: greedy, seed: 0, kept: 0 })
          return { context, text }
        })
        for (const { context, text } of texts) {
          text.next(await contexts.compute(context, text))
          onToken(context)
        }
        for (let goesOn = true; goesOn; )
          await contexts.computeTokens(texts, (i, logits) => {
            texts[i].text.next(logits)
            goesOn = onToken(i) && goesOn
          })
      },
      async close() {
        contexts.release()
        await model.close()
      },
    }
  }
  const generator = new Generator(runtime, config, store)
  return {
    info,
    write: (prompt) => generator.tokens(prompt, vocabulary, greedy, 0),
    close: async () => {
      generator.release()
      await model.close()
    },
  }
})
