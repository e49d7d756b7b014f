import { expect, test } from 'vitest'
import type { LayerCounts } from '../../../core/model/routing/statistics.ts'
import { keptByRank } from './load.ts'

const EXPERTS = 4

const empty = (layers: number) => (): LayerCounts[] =>
  Array.from({ length: layers }, (_, layer) => ({
    layer,
    module: 'ffn',
    capacity: null,
    tokens: new Float64Array(EXPERTS),
    kept: new Float64Array(EXPERTS),
    balance: 0,
    z: 0,
    largestEntropy: null,
    entropy: 0,
    gate: 0,
    unserved: 0,
    passes: 0,
  }))

/** Statistics of a pass: its two losses, then counts before drops and after, and five scalars, of each layer. */
const pass = (...kept: number[][]): Float64Array =>
  Float64Array.from([9, 9, ...kept.flatMap((layer) => [...layer.map((count) => count + 7), ...layer, 9, 9, 9, 9, 9])])

test('rows go to the rank of their expert, in the group of the rank that sends them', () => {
  // Four ranks in groups of two, a pass each, four experts in two layers.
  const passes = [
    pass([1, 2, 3, 4], [10, 0, 0, 0]),
    pass([5, 0, 0, 5], [0, 0, 0, 10]),
    pass([0, 0, 10, 0], [0, 0, 10, 0]),
    pass([0, 0, 0, 10], [2, 2, 3, 3]),
  ]
  const loads = keptByRank(passes, empty(2), { ranks: 4, expert: 2 })
  expect(loads).toEqual([1 + 2 + 10 + 5, 3 + 4 + 5 + 10, 4, 10 + 10 + 10 + 6])
})

test('a rank may compute several passes', () => {
  const passes = [pass([1, 0, 2, 0]), pass([3, 0, 4, 0]), pass([5, 0, 6, 0]), pass([7, 0, 8, 0])]
  expect(keptByRank(passes, empty(1), { ranks: 2, expert: 2 })).toEqual([16, 20])
})

test('there are no loads by rank if every rank has all experts', () => {
  expect(keptByRank([pass([1, 2, 3, 4])], empty(1), { ranks: 2, expert: 1 })).toBeNull()
})
