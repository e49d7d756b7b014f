/**
 * Models in folders of transformers, used as they are: nothing is imported, and no file of the folder is touched. From a
 * size on, rounded weights are kept in a folder of their own beside the files.
 *
 * @slow
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, test } from 'vitest'
import type { Fields } from '../../src/core/config/fields.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { recordRun } from '../../src/tools/routes/record-routes.ts'
import { samples } from '../../src/use/foreign/testing/samples.ts'
import type { WeightFormat } from '../../src/use/infer/quantized/weight-format.ts'
import { importModel } from '../../src/use/interchange/import/import-model.ts'
import { evaluateRun } from '../../src/use/runs/evaluate.ts'
import { generate } from '../../src/use/runs/generate.ts'
import { scoreRun } from '../../src/use/runs/score.ts'
import { writeFolder } from './folders.ts'

const temporary = temporaryFolder()

/** Random weights of OLMoE's architecture, as a folder and as a run that was imported from it. */
async function models() {
  const root = temporary.make()
  const { folder } = writeFolder(join(root, 'model'), samples.olmoe as Fields)
  await importModel(folder, join(root, 'run'))
  return { root, folder, run: join(root, 'run') }
}

type Options = Parameters<typeof generate>[1]
const plain: Options = { prompt: 'a', tokens: 8, temperature: 0, topK: 0, topP: 1, seed: 0 }

async function textOf(directory: string, options: Partial<Options> = {}): Promise<string> {
  let text = ''
  for await (const piece of generate(directory, { ...plain, ...options })) text += piece
  return text
}

async function scoresOf(directory: string, weights: WeightFormat) {
  const items = (async function* () {
    yield { name: 'a text', item: 'ab ba' }
  })()
  const scores = []
  for await (const { score } of scoreRun(directory, items, { weights })) scores.push(score)
  return scores
}

test('text, loss and scores from a folder are those of the run that was imported from it', async () => {
  const { root, folder, run } = await models()
  writeFileSync(join(root, 'text.txt'), 'ab ba abba baab '.repeat(40))
  const evaluated = { source: join(root, 'text.txt'), batches: 1 }
  for (const weights of ['float32', 'bf16', 'int8', 'int4'] as const) {
    expect(await textOf(folder, { weights })).toBe(await textOf(run, { weights }))
    expect(await scoresOf(folder, weights)).toEqual(await scoresOf(run, weights))
    const [here, there] = [
      await evaluateRun(folder, { ...evaluated, weights }),
      await evaluateRun(run, { ...evaluated, weights }),
    ]
    expect(here).toEqual(there)
    expect(Number.isFinite(here.loss)).toBe(true)
  }
})

test('routes of a folder are those of the run that was imported from it', async () => {
  const { root, folder, run } = await models()
  writeFileSync(join(root, 'text.txt'), 'ab ba abba baab '.repeat(40))
  for (const weights of ['float32', 'int8'] as const) {
    const routesOf = async (directory: string) => {
      const out = join(root, `${weights}-of-${basename(directory)}`)
      const { tokens, routers } = await recordRun(directory, { out, source: join(root, 'text.txt'), weights })
      return { tokens, routers, rows: readFileSync(join(out, 'routes.jsonl'), 'utf8') }
    }
    const found = await routesOf(folder)
    expect(found).toEqual(await routesOf(run))
    expect(found.rows.split('\n')).toHaveLength(found.tokens * found.routers.length + 1)
  }
  await expect(recordRun(folder, { out: join(root, 'none') })).rejects.toThrow(/^no held-out text/)
})

test('the folder stays as it is', async () => {
  const { root, folder } = await models()
  writeFileSync(join(root, 'text.txt'), 'ab ba '.repeat(100))
  const state = () => readdirSync(folder).map((name) => [name, statSync(join(folder, name)).mtimeMs])
  const before = state()
  await textOf(folder, { weights: 'int8' })
  await evaluateRun(folder, { source: join(root, 'text.txt'), batches: 1 })
  expect(state()).toEqual(before)
})

test('what only a run has is refused', async () => {
  const { folder } = await models()
  await expect(textOf(folder, { checkpoint: 3 })).rejects.toThrow(
    /^invalid checkpoint: 3 \(".*model" is a model of another library, which has no checkpoints\)$/,
  )
  await expect(evaluateRun(folder)).rejects.toThrow(/^no held-out text/)
})

test('a key that Choir does not know is named before the text', async () => {
  const root = temporary.make()
  const { folder } = writeFolder(join(root, 'model'), { ...samples.olmoe, strange_scale: 3 })
  const messages: string[] = []
  await textOf(folder, { onMessage: ({ message }) => messages.push(message) })
  expect(messages).toContain(
    'config.json has strange_scale, which Choir does not know: check that it does not change the model',
  )
})
