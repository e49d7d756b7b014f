/** Steps whose batches have the experts of their tokens. */
import { expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import type { MoeConfig } from '../../core/model/config/moe-config.ts'
import { floatsOf } from '../../engine/contract/arena.ts'
import { openRuntime } from '../../node/run/session.ts'
import { RoutingTracer } from '../../use/infer/routing-tracer.ts'
import { initialize, initialScales } from './store/initialize.ts'
import { createStore, Trainer } from './trainer.ts'

const tokens = Int32Array.from({ length: 64 }, (_, i) => ((i >> 4) * 11 + (i & 15) * 5) % 64)
const targets = tokens.map((token) => (token + 5) % 64)

/** A step of a small model. @param choose The experts of each router; null for a program that does not replay. */
async function step(
  moe: NonNullable<NonNullable<RunInput['model']>['moe']>,
  microBatches: number,
  choose: ((own: readonly Int32Array[]) => readonly Int32Array[]) | null,
) {
  const config = runSchema.parse({
    data: anyVocabulary,
    model: {
      ...{ vocabulary: 64, layers: 2, width: 16, heads: 2, sequence: 16, hidden: 32 },
      moe: { experts: 4, hidden: 32, capacity: 'none', biasRate: 0, ...moe },
    },
    train: { steps: 10, batch: 4, microBatches },
    runtime: { threads: 1 },
  })
  const model = { ...config.model, moe: config.model.moe as MoeConfig }
  const runtime = await openRuntime(config)
  try {
    const store = createStore(runtime, config)
    await initialize(store, config.train.seed, initialScales(config))
    const options = { batch: 4, seed: 0, capacity: 'train', separator: undefined } as const
    const tracer = await RoutingTracer.compile(runtime, model, store, options)
    tracer.batch.tokens.set(tokens)
    tracer.batch.targets.set(targets)
    const own = (await tracer.run()).routers.map(({ expert_TK }) => expert_TK)
    tracer.release()
    const trainer = await Trainer.compile(runtime, config, store, undefined, null, choose !== null)
    const outcome = await trainer.step(1, { tokens, targets, ...(choose && { experts: choose(own) }) })
    await trainer.release()
    const gradients = new Map(store.specs.map(({ name }) => [name, floatsOf(store.gradient(name)).slice()]))
    return { own, outcome, gradients }
  } finally {
    await runtime.close()
  }
}

const filled = (own: readonly Int32Array[], expert: number) =>
  own.map(({ length }) => new Int32Array(length).fill(expert))

const cases: [string, Parameters<typeof step>[0], number][] = [
  ['top-2', { k: 2 }, 1],
  ['top-2 renormalised, micro-batches', { k: 2, renormalize: true }, 2],
  ['prototypes, in attention too', { router: 'prototype', prototypes: 2, k: 1, attention: 'all' }, 1],
  ['bias with sigmoids', { router: 'bias', scores: 'sigmoid', k: 2 }, 1],
]

test.each(cases)('%s: the routes that a model would choose change nothing', async (_, moe, microBatches) => {
  const replayed = await step(moe, microBatches, (own) => own)
  const left = await step(moe, microBatches, (own) => filled(own, -1))
  const plain = await step(moe, microBatches, null)
  // The same program has the same bits. Without a replay, routers may be computed by another kernel.
  expect(replayed.outcome.loss).toBe(left.outcome.loss)
  expect(replayed.gradients).toEqual(left.gradients)
  expect(replayed.outcome.loss).toBeCloseTo(plain.outcome.loss, 5)
  expect(replayed.outcome.layers).toEqual(left.outcome.layers)
  for (const [name, values] of plain.gradients)
    for (const [i, value] of values.entries()) expect(replayed.gradients.get(name)?.[i]).toBeCloseTo(value, 5)
})

test('each micro-batch has the experts of its own tokens', async () => {
  const moe = { k: 1, balance: { coefficient: 0 } } as const
  const other = (own: readonly Int32Array[]) => own.map((of) => of.map((_, t) => (t < 16 ? 3 : t % 3)))
  const whole = await step(moe, 1, other)
  const parts = await step(moe, 4, other)
  for (const { tokens } of whole.outcome.layers) expect([...tokens]).toEqual([16, 16, 16, 16])
  expect(parts.outcome.layers.map(({ tokens }) => tokens)).toEqual(whole.outcome.layers.map(({ tokens }) => tokens))
  // The first micro-batch is all that expert 3 sees, so its gradient is right only if experts were not exchanged.
  for (const [name, values] of whole.gradients)
    if (name.includes('.experts.'))
      for (const [i, value] of values.entries()) expect(parts.gradients.get(name)?.[i]).toBeCloseTo(value, 3)
})

test('experts to which no token is sent have no gradient, and routers learn from the gates of the others', async () => {
  const { gradients, outcome } = await step({ k: 1 }, 1, (own) => filled(own, 2))
  for (const { tokens } of outcome.layers) expect([...tokens]).toEqual([0, 0, 64, 0])
  let banks = 0
  for (const [name, values] of gradients) {
    if (name.includes('.router')) expect(values.some((value) => value !== 0)).toBe(true)
    if (!name.includes('.experts.')) continue
    const size = values.length / 4
    for (let e = 0; e < 4; e++)
      expect(values.subarray(e * size, (e + 1) * size).some((value) => value !== 0)).toBe(e === 2)
    banks++
  }
  expect(banks).toBeGreaterThan(0)
})
