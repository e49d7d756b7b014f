import { expect, test } from 'vitest'
import {
  gatesByLayer,
  keptAssignments,
  keptFlops,
  type LayerCounts,
  routingRecord,
  summarize,
  telling,
} from './statistics.ts'

const layer = (over: Partial<LayerCounts> & { tokens: Float64Array; kept: Float64Array }): LayerCounts => ({
  layer: 0,
  module: 'ffn',
  capacity: 4,
  largestEntropy: Math.log(4),
  balance: 0,
  z: 0,
  entropy: 0,
  gate: 0,
  unserved: 0,
  passes: 1,
  ...over,
})

/** Two micro-batches of 4 tokens, top-1 over 4 experts: 4 + 2 + 2 + 0 assignments, one dropped. */
const uneven = layer({
  layer: 3,
  tokens: Float64Array.of(4, 2, 2, 0),
  kept: Float64Array.of(3, 2, 2, 0),
  balance: 3,
  z: 0.5,
  entropy: 1.5,
  gate: 0.875,
  unserved: 0.25,
  passes: 2,
})
const even = layer({
  tokens: Float64Array.of(2, 2, 2, 2),
  kept: Float64Array.of(2, 2, 2, 2),
  balance: 1,
  z: 1,
  entropy: 1,
  gate: 0.5,
})

test('a routing record of a layer has the values worked by hand', () => {
  const { load_cv, load_cv_kept, ...rest } = routingRecord(7, uneven)
  expect(rest).toEqual({
    step: 7,
    layer: 3,
    module: 'ffn',
    capacity: 4,
    tokens_per_expert: [4, 2, 2, 0],
    kept_per_expert: [3, 2, 2, 0],
    drop_rate: 1 / 8,
    unserved_rate: 1 / 8,
    gate_mean: 0.4375,
    gate_entropy: 0.75,
    entropy_share: 0.75 / Math.log(4),
    dead_experts: 1,
    max_over_mean: 2,
  })
  expect(load_cv).toBeCloseTo(Math.SQRT1_2, 15)
  // Kept 3, 2, 2, 0: mean 7/4, squares (25 + 1 + 1 + 49)/16 = 76/16 over 4, divided by 7/4.
  expect(load_cv_kept).toBeCloseTo(Math.sqrt(76 / 64) / 1.75, 15)
})

test('a metrics line has means over layers of means over passes, and the sum of dead experts', () => {
  const { load_cv, load_cv_kept, entropy_share, ...rest } = summarize([uneven, even])
  expect(rest).toEqual({
    aux_loss: (1.5 + 1) / 2,
    z_loss: (0.25 + 1) / 2,
    drop_rate: 1 / 16,
    unserved_rate: 1 / 16,
    dead_experts: 1,
    gate_mean: (0.4375 + 0.5) / 2,
    gate_entropy: (0.75 + 1) / 2,
  })
  expect(entropy_share).toBeCloseTo((0.75 + 1) / 2 / Math.log(4), 15)
  expect(load_cv).toBeCloseTo(Math.SQRT1_2 / 2, 15)
  expect(load_cv_kept).toBeCloseTo(Math.sqrt(76 / 64) / 3.5, 15)
  expect(keptAssignments([uneven, even])).toBe(15)
})

test('operations are counted by the cost of an assignment in its module', () => {
  const costs = { ffn: 100, qkv: 10, output: 1 }
  const [qkv, output] = [
    { ...even, module: 'qkv' as const },
    { ...uneven, module: 'output' as const },
  ]
  expect(keptFlops([uneven, qkv, even, output], costs)).toBe(7 * 100 + 8 * 10 + 8 * 100 + 7)
  expect(routingRecord(1, qkv).module).toBe('qkv')
})

test('a router without weights has a gate and no entropy, and does not change the mean entropy of others', () => {
  const hash = { ...even, largestEntropy: null, entropy: 0, gate: 1 }
  expect(routingRecord(1, hash)).toMatchObject({ gate_mean: 1, gate_entropy: null, entropy_share: null })
  expect(summarize([hash])).toMatchObject({ gate_mean: 1, gate_entropy: null, entropy_share: null })
  expect(summarize([hash, even])).toMatchObject({
    gate_mean: 0.75,
    gate_entropy: 1,
    entropy_share: 1 / Math.log(4),
  })
  // With one expert in a prototype there is nothing to decide.
  expect(routingRecord(1, { ...even, largestEntropy: 0, entropy: 0 })).toMatchObject({
    gate_entropy: 0,
    entropy_share: null,
  })
})

test('gates by layer are means over passes, and over the routers of a layer', () => {
  const projection = { ...even, layer: 3, module: 'qkv' as const, gate: 1, entropy: Math.log(4) }
  const hash = { ...even, layer: 5, largestEntropy: null, gate: 0.75 }
  expect(gatesByLayer([projection, uneven, hash])).toEqual([
    { layer: 3, gateMean: (1 + 0.4375) / 2, entropyShare: expect.closeTo((1 + 0.75 / Math.log(4)) / 2, 12) },
    { layer: 5, gateMean: 0.75, entropyShare: null },
  ])
  expect(gatesByLayer([])).toEqual([])
})

test('a dense model has zeros, not NaN, and neither gate nor entropy', () => {
  const { gate_mean, gate_entropy, entropy_share, ...rest } = summarize([])
  expect(Object.values(rest)).toEqual([0, 0, 0, 0, 0, 0, 0])
  expect([gate_mean, gate_entropy, entropy_share]).toEqual([null, null, null])
  expect(keptAssignments([])).toBe(0)
})

test('a record of a model without experts has nothing of routing to tell, also under other capacities', () => {
  const dense = { step: 3, loss: 4, ...summarize([]), 'train_capacity/drop_rate': 0, 'train_capacity/loss': 4 }
  expect(telling(dense)).toEqual({ step: 3, loss: 4, 'train_capacity/loss': 4 })
  const sparse = { step: 3, loss: 4, ...summarize([even]) }
  expect(telling(sparse)).toEqual(sparse)
  // A file has null for a gate that is not finite.
  const diverged = { ...summarize([uneven]), gate_mean: null }
  expect(telling(diverged)).toEqual(diverged)
})
