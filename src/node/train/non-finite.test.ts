import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import { floatsOf } from '../../engine/contract/arena.ts'
import type { Batch } from '../../train/data/batches.ts'
import { nonFiniteBatch } from '../../train/run/non-finite.ts'
import { initialize, initialScales } from '../../train/step/store/initialize.ts'
import { createStore, type StepOutcome, Trainer } from '../../train/step/trainer.ts'
import { openRuntime } from '../run/session.ts'
import { saveBatch } from './non-finite.ts'

const directory = mkdtempSync(join(tmpdir(), 'choir-non-finite-'))
afterAll(() => rmSync(directory, { recursive: true }))

const config = runSchema.parse({
  data: anyVocabulary,
  model: {
    ...{ vocabulary: 64, layers: 2, width: 16, heads: 2, sequence: 16 },
    moe: { experts: 4, hidden: 32, k: 2, capacity: 'none' },
  },
  train: { batch: 4 },
  runtime: { threads: 1 },
})
const tokens = Int32Array.from({ length: 64 }, (_, i) => (i * 11) % 64)
const targets = tokens.map((token) => (token + 5) % 64)

/** The first step of the same training. @param damaged An expert of layer 1 that is not finite. */
async function firstStep(batch: Batch, damaged: number | null = null): Promise<StepOutcome> {
  const runtime = await openRuntime(config)
  try {
    const store = createStore(runtime, config)
    await initialize(store, 0, initialScales(config))
    if (damaged !== null) floatsOf(store.parameter('layers.1.moe.experts.{e}.up', damaged)).fill(Number.NaN)
    const trainer = await Trainer.compile(runtime, config, store, undefined, null, batch.experts !== undefined)
    const outcome = await trainer.step(1, batch)
    await trainer.release()
    return outcome
  } finally {
    await runtime.close()
  }
}

async function saved(batch: Batch, outcome: StepOutcome): Promise<Batch> {
  const text = await saveBatch(directory, { step: 1, outcome, batch, where: undefined }, null)
  const path = join(directory, nonFiniteBatch(1))
  expect(text).toBe(`the batch is in ${path}`)
  const record = JSON.parse(readFileSync(path, 'utf8'))
  expect(record).toMatchObject({ step: 1, loss: String(outcome.loss), grad_norm: String(outcome.gradNorm) })
  const experts = record.experts?.map((choices: number[]) => Int32Array.from(choices))
  return {
    tokens: Int32Array.from(record.tokens),
    targets: Int32Array.from(record.targets),
    ...(experts && { experts }),
  }
}

test('the saved batch of a step with replayed experts gives its loss again, which its tokens alone do not', async () => {
  // Two experts of each token by layer, which no router would choose like that; some choices are left to the router.
  const experts = [3, 5].map((stride) =>
    Int32Array.from({ length: 128 }, (_, i) => (i % 32 < 2 ? -1 : ((i >> 1) * stride + (i & 1)) % 3)),
  )
  const batch = { tokens, targets, experts }
  const outcome = await firstStep(batch)
  const again = await saved(batch, outcome)
  expect(again).toEqual(batch)
  expect((await firstStep(again)).loss).toBe(outcome.loss)
  expect((await firstStep({ tokens, targets })).loss).not.toBe(outcome.loss)
})

test('a loss that is not finite because of replayed experts is not finite again', async () => {
  // Only the last token is sent to the damaged expert 3.
  const routes = (last: number) =>
    [0, 1].map(() => Int32Array.from({ length: 128 }, (_, i) => (i === 127 ? last : i & 1)))
  const harmed = { tokens, targets, experts: routes(3) }
  expect((await firstStep({ tokens, targets, experts: routes(1) }, 3)).loss).not.toBeNaN()
  const outcome = await firstStep(harmed, 3)
  expect(outcome.loss).toBeNaN()
  expect((await firstStep(await saved(harmed, outcome), 3)).loss).toBeNaN()
})

test('without replayed experts the saved batch has none', async () => {
  const batch = { tokens, targets }
  expect(await saved(batch, await firstStep(batch))).toEqual(batch)
})
