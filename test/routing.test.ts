/** The conformance suite for every router with several settings, and relations between routers. */
import { expect, test } from 'vitest'
import { sum } from '../src/core/graph/ops/reduction.ts'
import { sinkhorn } from '../src/core/graph/ops/sinkhorn.ts'
import { constant } from '../src/core/graph/tensor.ts'
import { capacityOf } from '../src/core/model/routing/capacity.ts'
import { hashTable, hashTableOf } from '../src/core/model/routing/hash.ts'
import { bestExperts } from '../src/core/model/routing/selection.ts'
import { evaluate } from './support/evaluate.ts'
import { testRandom } from './support/gradient-check.ts'
import {
  configOf,
  describeRouter,
  expectClose,
  layerGradients,
  layerInputs,
  layerResult,
} from './support/router-conformance.ts'

describeRouter('top-1', { router: 'top-k', experts: 4, factor: 1 })
describeRouter('top-1 by choice', { router: 'top-k', experts: 4, priority: 'choice', factor: 1 })
describeRouter('top-2 by choice, groups', { router: 'top-k', k: 2, experts: 4, priority: 'choice', groups: 2 })
describeRouter('top-2, window 5', { router: 'top-k', k: 2, experts: 4, window: 5, factor: 0.75 })
describeRouter('top-3, window 1', { router: 'top-k', k: 3, experts: 5, window: 1, factor: 0.75 })
describeRouter('2 top-2, capacity 1x, window 3, groups', {
  router: 'prototype',
  prototypes: 2,
  k: 2,
  experts: 8,
  capacity: '1x',
  window: 3,
  groups: 2,
})
describeRouter('top-2, capacity 1x', { router: 'top-k', k: 2, experts: 4, capacity: '1x', factor: 1 })
describeRouter('top-3, softmax after, by token', {
  router: 'top-k',
  k: 3,
  experts: 6,
  softmax: 'after',
  priority: 'token',
  factor: 0.75,
})
describeRouter('top-2 renormalised, by gate', {
  router: 'top-k',
  k: 2,
  experts: 4,
  renormalize: true,
  priority: 'gate',
  factor: 0.75,
})
describeRouter('switch', { router: 'switch', experts: 3, factor: 1 })
describeRouter('2 top-1', { router: 'prototype', prototypes: 2, experts: 6, factor: 1 })
describeRouter('3 top-1, capacity 1x, by gate', {
  router: 'prototype',
  prototypes: 3,
  experts: 6,
  capacity: '1x',
  priority: 'gate',
})
describeRouter('2 top-2', { router: 'prototype', prototypes: 2, k: 2, experts: 8, factor: 0.75 })
describeRouter('2 top-2 by choice', {
  router: 'prototype',
  prototypes: 2,
  k: 2,
  experts: 8,
  priority: 'choice',
  factor: 0.75,
})
describeRouter('sinkhorn top-2', { router: 'sinkhorn', k: 2, experts: 4, factor: 0.75 })
describeRouter('sinkhorn top-1, softmax after, groups, by gate', {
  router: 'sinkhorn',
  experts: 5,
  softmax: 'after',
  groups: 3,
  priority: 'gate',
  factor: 1,
})
describeRouter('bias top-2', { router: 'bias', k: 2, experts: 4, factor: 0.75 })
describeRouter('bias top-3, softmax after, capacity 1x', {
  router: 'bias',
  k: 3,
  experts: 6,
  softmax: 'after',
  capacity: '1x',
})
describeRouter('bias top-2 renormalised, by gate', {
  router: 'bias',
  k: 2,
  experts: 4,
  renormalize: true,
  priority: 'gate',
})
describeRouter('sigmoid top-3, groups', {
  router: 'top-k',
  k: 3,
  experts: 5,
  scores: 'sigmoid',
  groups: 2,
  factor: 0.75,
})
describeRouter('sigmoid 2 top-2 renormalised, by gate', {
  ...{ router: 'prototype', prototypes: 2, k: 2, experts: 8, priority: 'gate' },
  ...{ scores: 'sigmoid', renormalize: true, factor: 0.75 },
})
describeRouter('top-2 of one group of four (DeepSeek-V2)', {
  ...{ router: 'top-k', k: 2, experts: 8, factor: 0.75 },
  ...{ expertGroups: 4, routedScale: 16 },
})
describeRouter('top-3 of two groups of four (DeepSeek-V3)', {
  ...{ router: 'bias', k: 3, experts: 8, scores: 'sigmoid', renormalize: true, factor: 0.75 },
  ...{ expertGroups: 4, groupsPerToken: 2, groupScore: 'top-2', routedScale: 2.5 },
})
describeRouter('expert-choice, 2 a token', { router: 'expert-choice', k: 2, experts: 4, factor: 0.75 })
describeRouter('expert-choice, capacity 1x, groups', {
  router: 'expert-choice',
  experts: 3,
  capacity: '1x',
  groups: 2,
})
describeRouter('top-3, sequential', { router: 'top-k', k: 3, experts: 5, selection: 'sequential', factor: 0.75 })
describeRouter('2 top-2, sequential', { router: 'prototype', prototypes: 2, k: 2, experts: 8, selection: 'sequential' })
describeRouter('hash', { router: 'hash', k: 2, experts: 4, factor: 0.75 })
describeRouter('random', { router: 'random', k: 2, experts: 4, factor: 0.75 })
describeRouter('dropless top-2', { router: 'top-k', k: 2, experts: 4, capacity: 'none' })

test('a prototype router with one prototype is the switch router', async () => {
  for (const seed of [1, 2, 3]) {
    const prototype = configOf({ router: 'prototype', prototypes: 1, experts: 4 })
    const given = layerInputs(prototype, seed)
    expectClose(
      await layerResult(prototype, given),
      await layerResult(configOf({ router: 'switch', experts: 4 }), given),
    )
  }
})

test('top-k with k = N and no capacity is the dense sum of all experts, weighted by softmax', async () => {
  const [experts, width, hidden] = [3, 4, 3]
  const config = configOf({ router: 'top-k', k: experts, experts, capacity: 'none' })
  const given = layerInputs(config, 5)
  const weights = (name: string) => given.weights[`layers.0.moe.${name}`] as Float64Array
  const [router, up, down] = [weights('router'), weights('experts.{e}.up'), weights('experts.{e}.down')]
  const tokens = given.x.length / width
  const expected = new Float64Array(tokens * width)
  for (let t = 0; t < tokens; t++) {
    const x = given.x.subarray(t * width, (t + 1) * width)
    const score = Array.from({ length: experts }, (_, e) =>
      Math.exp(x.reduce((total, value, d) => total + value * (router[d * experts + e] as number), 0)),
    )
    const total = score.reduce((a, b) => a + b, 0)
    for (let e = 0; e < experts; e++)
      for (let f = 0; f < hidden; f++) {
        const u = x.reduce((sum, value, d) => sum + value * (up[(e * width + d) * hidden + f] as number), 0)
        const activation = (u * (1 + erf(u / Math.SQRT2))) / 2
        for (let d = 0; d < width; d++)
          expected[t * width + d] =
            (expected[t * width + d] as number) +
            ((score[e] as number) / total) * activation * (down[(e * hidden + f) * width + d] as number)
      }
  }
  // ONNX Runtime rounds the scales of matmuls to float32, in float64 graphs too.
  expectClose(await layerResult(config, given), expected, 1e-6)
})

/** erf by its Taylor series: enough terms for |x| < 6. */
function erf(x: number): number {
  let [term, sum] = [x, x]
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

test('a limit to groups of experts changes nothing with one group, or if it allows all groups', async () => {
  const settings = { router: 'top-k', k: 3, experts: 6, scores: 'sigmoid', renormalize: true } as const
  for (const seed of [1, 2]) {
    const given = layerInputs(configOf(settings), seed)
    const expected = await layerGradients(configOf(settings), given)
    for (const groups of [
      { expertGroups: 3, groupsPerToken: 3 },
      { expertGroups: 1, groupScore: 'top-2' },
    ] as const)
      expect(await layerGradients(configOf({ ...settings, ...groups }), given)).toEqual(expected)
  }
})

test('sequential and fused selection give the same experts and gradients', async () => {
  for (const settings of [
    { router: 'top-k', k: 3, experts: 6 },
    { router: 'top-k', k: 2, experts: 4, softmax: 'after', priority: 'gate', factor: 0.75 },
    { router: 'prototype', prototypes: 2, k: 2, experts: 8, renormalize: true },
    { router: 'sinkhorn', k: 2, experts: 5 },
    { router: 'bias', k: 2, experts: 5 },
    { router: 'top-k', k: 2, experts: 6, scores: 'sigmoid', expertGroups: 3, groupsPerToken: 2 },
  ] as const)
    for (const seed of [1, 2]) {
      const fused = configOf(settings)
      const given = layerInputs(fused, seed)
      const expected = await layerGradients(fused, given)
      const actual = await layerGradients(configOf({ ...settings, selection: 'sequential' }), given)
      for (const [name, values] of Object.entries(expected)) expect(actual[name], name).toEqual(values)
    }
})

test('a sequential choice has distinct experts even if scores are equal, infinite or NaN', async () => {
  const scores = [
    [0, 0, 0, 0],
    [-Infinity, 1, -Infinity, -Infinity],
    [Number.NaN, Number.NaN, Number.NaN, Number.NaN],
    [Number.NaN, 3, 5, Number.NaN],
  ]
  const score = constant(scores.flat(), 'float32', [4, 4])
  const { best } = await evaluate({ best: bestExperts(score, { k: 3, selection: 'sequential' }) })
  expect(best).toEqual([0, 1, 2, 1, 0, 2, 0, 1, 2, 2, 1, 0])
})

test('the Sinkhorn weights of a group are finite and give experts even shares for any logits', async () => {
  const random = testRandom(3)
  for (const range of [1, 30, 1e4]) {
    const [groups, tokens, experts] = [2, 12, 3]
    const logits = Float32Array.from({ length: groups * tokens * experts }, () => range * (random() * 2 - 1))
    const weights = sinkhorn(constant(logits, 'float32', [groups, tokens, experts]), 8)
    const { shares, all } = await evaluate({ shares: sum(weights, { axes: [1] }), all: weights })
    expect(all?.every(Number.isFinite)).toBe(true)
    for (const share of shares ?? []) expect(share).toBeCloseTo(1 / experts, 5)
  }
})

test('capacity follows the formula of the paper', () => {
  const moe = { router: 'top-k', k: 2, experts: 32 } as const
  // k·T/N·γ = 2·4096/32·1.25 = 320; 1x: 160. Evaluation has its own factor.
  expect(capacityOf(configOf({ ...moe, capacity: 'kx', factor: 1.25 }).moe, 4096, 'train')).toBe(320)
  expect(capacityOf(configOf({ ...moe, capacity: '1x', factor: 1.25 }).moe, 4096, 'train')).toBe(160)
  expect(capacityOf(configOf({ ...moe, capacity: '1x', evalFactor: 2 }).moe, 4096, 'eval')).toBe(256)
  // Capacity is rounded up, is at least one, and has no limit (null) from the number of tokens on.
  expect(capacityOf(configOf({ ...moe, capacity: '1x', factor: 1 }).moe, 33, 'train')).toBe(2)
  expect(capacityOf(configOf({ ...moe, capacity: '1x', factor: 0.1 }).moe, 32, 'train')).toBe(1)
  expect(capacityOf(configOf({ ...moe, capacity: '1x', factor: 40 }).moe, 32, 'train')).toBeNull()
  // 10 · 1.1 is 11, not 12 by a rounding error.
  expect(capacityOf(configOf({ ...moe, k: 1, capacity: 'kx', factor: 1.1 }).moe, 320, 'train')).toBe(11)
})

test('a hash table gives a token distinct experts, and every expert the same number of ids', () => {
  const table = hashTable(96, 8, 2, 3)
  const load = new Map<number, number>()
  for (let v = 0; v < 96; v++) {
    expect(table[2 * v]).not.toBe(table[2 * v + 1])
    load.set(table[2 * v] as number, (load.get(table[2 * v] as number) ?? 0) + 1)
  }
  expect([...load.values()]).toEqual(Array(8).fill(12))
  expect(hashTable(96, 8, 2, 4)).not.toEqual(table)
})

test.each([
  [2, 1024, 8],
  [4, 4096, 16],
])(
  '%i hash choices of a token are distinct, equally frequent, and independent of each other',
  (k, vocabulary, experts) => {
    const table = hashTable(vocabulary, experts, k, 5)
    const rows = Array.from({ length: vocabulary }, (_, v) => [...table.subarray(v * k, (v + 1) * k)])
    const pairs = new Map<string, number>()
    for (const row of rows) {
      expect(new Set(row).size).toBe(k)
      for (const e of row) expect(e >= 0 && e < experts).toBe(true)
      const pair = row.slice(0, 2).join()
      pairs.set(pair, (pairs.get(pair) ?? 0) + 1)
    }
    for (let j = 0; j < k; j++) {
      const loads = Array.from({ length: experts }, (_, e) => rows.filter((row) => row[j] === e).length)
      // The last tokens of the vocabulary may find no other token to trade with.
      for (const load of loads) expect(Math.abs(load - vocabulary / experts)).toBeLessThanOrEqual(k)
    }
    // Each of the N(N−1) pairs is expected V / N(N−1) times, so their χ² has N(N−1) − 1 degrees of freedom.
    const expected = vocabulary / (experts * (experts - 1))
    expect(pairs.size).toBeGreaterThan(0.95 * experts * (experts - 1))
    const chiSquare =
      [...pairs.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0) +
      (experts * (experts - 1) - pairs.size) * expected
    const freedom = experts * (experts - 1) - 1
    expect(chiSquare).toBeLessThan(freedom + 4 * Math.sqrt(2 * freedom))
  },
)

test('consecutive hash choices, which earlier runs were trained with, are neighbours of the first', () => {
  const config = { ...configOf({ router: 'hash', k: 3, experts: 8, hashChoices: 'consecutive' }), vocabulary: 96 }
  const table = hashTableOf(config, 0, 'ffn')
  const first = hashTable(96, 8, 1, 0)
  const expected = [...first].flatMap((e) => [e, (e + 1) % 8, (e + 2) % 8])
  expect([...table]).toEqual(expected)
})

test('hash tables differ for every seed, layer and module, and the tables of seed 0 are fixed', () => {
  const tablesOf = (hashSeed: number) => {
    const config = { ...configOf({ router: 'hash', k: 2, experts: 8, hashSeed, attention: 'all' }), vocabulary: 96 }
    return [0, 1, 2].flatMap((layer) =>
      (['ffn', 'qkv', 'output'] as const).map((module) => String(hashTableOf({ ...config, layers: 3 }, layer, module))),
    )
  }
  const all = [0, 1, 2, 3, 2 ** 20].flatMap(tablesOf)
  expect(new Set(all).size).toBe(all.length)
  // The table number is layer + layers · module, as in earlier runs.
  expect(tablesOf(0)[4]).toBe(String(hashTable(96, 8, 2, 1 + 3 * 1)))
  // The first ids of a table, computed in another language: a resumed run must find the same experts.
  expect([...hashTable(12, 4, 2, 0).filter((_, i) => i % 2 === 0)]).toEqual([0, 2, 2, 2, 0, 1, 3, 1, 0, 1, 3, 3])
})
