import { expect, test } from 'vitest'
import { keptByRank } from './rank-load.ts'

test('rows go to the rank of their expert, in the group of the rank that sends them', () => {
  // Four ranks in groups of two, a pass each, four experts in two layers.
  const pass = (...layers: number[][]) => layers.map((kept) => ({ kept: Float64Array.from(kept) }))
  const passes = [
    pass([1, 2, 3, 4], [10, 0, 0, 0]),
    pass([5, 0, 0, 5], [0, 0, 0, 10]),
    pass([0, 0, 10, 0], [0, 0, 10, 0]),
    pass([0, 0, 0, 10], [2, 2, 3, 3]),
  ]
  expect(keptByRank(passes, 4, 2)).toEqual([1 + 2 + 10 + 5, 3 + 4 + 5 + 10, 4, 10 + 10 + 10 + 6])
})

test('a rank may compute several passes', () => {
  const pass = (kept: number[]) => [{ kept: Float64Array.from(kept) }]
  expect(keptByRank([pass([1, 2]), pass([3, 4]), pass([5, 6]), pass([7, 8])], 2, 2)).toEqual([16, 20])
  expect(keptByRank([pass([1, 2]), pass([3, 4]), pass([5, 6]), pass([7, 8])], 2, 1)).toEqual([10, 26])
})
