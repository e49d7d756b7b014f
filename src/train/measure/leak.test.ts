import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import { softmax } from '../../core/graph/ops/fused.ts'
import { matmul } from '../../core/graph/ops/matmul.ts'
import { topK } from '../../core/graph/ops/order.ts'
import { concat, reshape, slice } from '../../core/graph/ops/shape.ts'
import type { Tensor } from '../../core/graph/tensor.ts'
import { ownRouters } from '../../core/model/routing/own.ts'
import { floatsOf } from '../../engine/contract/arena.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { cpuMemory } from '../../engine/testing/cpu-memory.ts'
import { openRuntime } from '../../node/run/session.ts'
import type { TokenStream } from '../data/streams/token-stream.ts'
import { initialize, initialScales } from '../step/store/initialize.ts'
import { createStore } from '../step/trainer.ts'
import { measureLeak, measureLossGain } from './leak.ts'

let runtime: Runtime
beforeAll(async () => {
  runtime = await openRuntime(runSchema.parse({ runtime: { threads: 1 } }))
})
afterAll(() => runtime.close())

const streamOf = (tokens: readonly number[]): TokenStream => ({
  length: tokens.length,
  documents: 1,
  read: (offset, into) => into.set(tokens.slice(offset, offset + into.length)),
})

/** A model of one layer in which a token's neighbours matter only through routing: attention adds nothing. */
function constructed(moe: NonNullable<NonNullable<RunInput['model']>['moe']>) {
  const shape = { vocabulary: 4, layers: 1, width: 4, heads: 1, sequence: 6, positions: 'rotary', tied: false } as const
  const config = runSchema.parse({
    data: anyVocabulary,
    model: { ...shape, moe: { experts: 2, hidden: 1, k: 1, capacity: 'kx', factor: 1, ...moe } },
    train: { batch: 1 },
  })
  const store = createStore(cpuMemory, config)
  const set = (name: string, values: readonly number[]) => floatsOf(store.parameter(name)).set(values)
  for (const { name } of store.specs) floatsOf(store.parameter(name)).fill(name.endsWith('norm') ? 1 : 0)
  // Tokens q, a, b are axes of the width; expert 0 prefers a, then q, then b, and writes the fourth axis for q only.
  set('embedding', [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0])
  set('layers.0.moe.router', [0, 0, 2.5, 0, -2.5, 0, 0, 0])
  set('layers.0.moe.experts.{e}.up', [1, 0, 0, 0, 0, 0, 0, 0])
  set('layers.0.moe.experts.{e}.down', [0, 0, 0, 100, 0, 0, 0, 0])
  // A q that expert 0 served predicts b, with a logit 8 above the others; any other q predicts a.
  set('head', [0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0])
  return { config: config.model, store }
}

const [q, a, b] = [0, 1, 2]
const heldOut = streamOf([q, q, q, a, a, a, q, q, q, b, b, b, q])
const options = { batch: 1, rule: 'train', limit: 0, seed: 1 } as const

describe('the gain from the true continuation', () => {
  test('is the loss saved by later tokens that reveal the next one', async () => {
    // Expert 0 takes three of six tokens: the q's if b's follow, no q if a's follow. So the third q predicts the next
    // token correctly if its own text follows, and wrongly by 8 if the other text follows; the first two q's never
    // predict a q.
    const { config, store } = constructed({ router: 'expert-choice' })
    const gain = await measureLeak(runtime, config, store, { heldOut }, options)
    expect(gain).toBeGreaterThan((0.95 * 8) / 3)
    expect(gain).toBeLessThan((1.05 * 8) / 3)
  })

  test('is the same with queues that serve larger gates first', async () => {
    // With top-1 only tokens with p > 1/2 choose expert 0; q is just above.
    const { config, store } = constructed({ priority: 'gate' })
    floatsOf(store.parameter('layers.0.moe.router'))[0] = 0.01
    const gain = await measureLeak(runtime, config, store, { heldOut }, options)
    expect(gain).toBeGreaterThan((0.95 * 8) / 3)
    expect(gain).toBeLessThan((1.05 * 8) / 3)
  })

  test('is not measured for a causal model, and is exactly 0 if it is', async () => {
    const tokens = Array.from({ length: 500 }, (_, i) => (i * i * 7 + i * 3) % 61)
    const data = { heldOut: streamOf(tokens) }
    for (const moe of [
      { k: 2, experts: 4 },
      { router: 'prototype', prototypes: 2, experts: 4, capacity: '1x' },
      null,
    ]) {
      const config = runSchema.parse({
        data: anyVocabulary,
        model: {
          vocabulary: 61,
          layers: 2,
          width: 16,
          heads: 2,
          sequence: 8,
          moe: moe && { hidden: 16, compute: 'padded', ...moe },
        },
        train: { init: { scale: 3 } },
      })
      const store = createStore(cpuMemory, config)
      await initialize(store, 1, initialScales(config))
      const few = { ...options, batch: 4, limit: 5 }
      expect(await measureLeak(runtime, config.model, store, data, few)).toBeNull()
      expect(await measureLossGain(runtime, config.model, store, data, few)).toBe(0)
      // With priority by gate, the place of a token in a queue depends on later tokens.
      if (!moe || moe.capacity === '1x') continue
      const leaky = { ...config.model, moe: config.model.moe && { ...config.model.moe, priority: 'gate' as const } }
      expect(await measureLeak(runtime, leaky, store, data, few)).not.toBe(0)
    }
  })

  test('finds a router of the user’s own that sees later tokens and denies it', async () => {
    /** Top-1 of the logits of the token `distance` positions later, or of the token itself. */
    const router = (distance: number) => {
      const id = `leak${distance}@0123456789abcdef`
      ownRouters.register(id, {
        name: `leak${distance}`,
        sees: 'past',
        parameters: ({ moe, width }) => ({ weight: { shape: [width, moe.experts], init: 'normal' } }),
        choose({ moe, x_TD, weights }) {
          const [tokens = 0] = x_TD.shape
          const own = matmul(x_TD, weights.weight as Tensor)
          const logits = concat([slice(own, 0, distance, tokens), slice(own, 0, 0, distance)], 0)
          const [gate_TK, expert_TK] = topK(softmax(logits), moe.k)
          const shape = [tokens, 1, moe.experts]
          const probability_TZN = reshape(softmax(logits), shape)
          return { expert_TK, gate_TK, logits_TZN: reshape(logits, shape), probability_TZN }
        },
      })
      return id
    }
    const data = { heldOut: streamOf(Array.from({ length: 500 }, (_, i) => (i * i * 7 + i * 3) % 61)) }
    const gain = async (distance: number, limits: object = { capacity: 'none' }) => {
      const moe = {
        router: 'own',
        own: router(distance),
        experts: 4,
        hidden: 16,
        k: 1,
        prototypes: 1,
        ...limits,
      }
      const model = { vocabulary: 61, layers: 1, width: 16, heads: 2, sequence: 8, moe } as const
      const config = runSchema.parse({ data: anyVocabulary, model, train: { init: { scale: 3 } } })
      const store = createStore(cpuMemory, config)
      await initialize(store, 1, initialScales(config))
      return measureLeak(runtime, config.model, store, data, { ...options, batch: 4, limit: 5 })
    }
    expect(await gain(0)).toBeNull()
    for (const distance of [1, 3]) expect(Math.abs((await gain(distance)) ?? 0)).toBeGreaterThan(0)
    // With this capacity and priority the loss depends on other sequences too, which is no reason not to look.
    const crowded = { capacity: '1x', priority: 'token' }
    expect(await gain(0, crowded)).toBeNull()
    expect(Math.abs((await gain(1, crowded)) ?? 0)).toBeGreaterThan(0)
  })

  test('is not measured without a second window, because there is no other text', async () => {
    const { config, store } = constructed({ router: 'expert-choice' })
    const data = { heldOut: streamOf([q, q, q, a, a, a, q]) }
    expect(await measureLeak(runtime, config, store, data, options)).toBeNull()
    await expect(measureLossGain(runtime, config, store, data, options)).rejects.toThrow(
      'too little text: 7 held-out tokens',
    )
  })
})
