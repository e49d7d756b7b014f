import { expect, test } from 'vitest'
import { exposureOf, lossesOf, memoryOf, type RankSteps, ratio, stepTimes, transfersOf } from './summary.ts'

const rank = (times: readonly number[], more: Partial<RankSteps> = {}): RankSteps => ({
  steps: times.map((ms) => ({ ms, gradientMs: ms, updateMs: 0, loss: 2 + ms, gradNorm: 1, keptShare: 1 })),
  sentBytes: 0,
  receivedBytes: 0,
  linkBytes: 0,
  orders: 0,
  stateBytes: 0,
  peakBytes: 0,
  ...more,
})

test('a step lasts as long as its slowest rank, in every turn', () => {
  expect(
    stepTimes([
      [rank([5, 1]), rank([2, 3])],
      [rank([4]), rank([7])],
    ]),
  ).toEqual([5, 3, 7])
})

test('the wire needs the bytes of the busiest rank in one direction, both directions at once', () => {
  const ranks = [
    rank([], { sentBytes: 1_000_000, receivedBytes: 3_000_000, linkBytes: 4_400_000 }),
    rank([], { sentBytes: 3_000_000, receivedBytes: 1_000_000, linkBytes: 4_400_000 }),
  ]
  // 24 million bits at a hundred million a second.
  expect(transfersOf(ranks, 1e8)).toEqual({ busiestBytes: 3_000_000, wireMs: 240, counted: 1.1 })
  expect(transfersOf([rank([])], 1e8)).toMatchObject({ wireMs: 0, counted: 0 })
})

test('the time that a link adds to a step is exposed, and the rest of the time on the wire is hidden', () => {
  expect(exposureOf([130, 110, 500], [100, 90, 110], 120)).toEqual({
    linkMs: 130,
    computeMs: 100,
    exposedMs: 30,
    hidden: 0.75,
  })
  // Nothing is hidden, and the step waits for longer than the wire needs.
  expect(exposureOf([300], [100], 100)).toMatchObject({ hidden: -1 })
})

test('losses are equal only if all of their bits are', () => {
  const losses = (...times: number[]) => lossesOf([[rank(times)]])
  expect(losses(1, 2)).toBe(losses(1, 2))
  expect(losses(1, 2)).not.toBe(losses(1, 2 + 2 ** -40))
})

test('each value of the memory of a layout is the largest of its ranks', () => {
  const ranks = [
    rank([], { stateBytes: 5, programBytes: 1, peakBytes: 9 }),
    rank([], { stateBytes: 4, programBytes: 3 }),
  ]
  expect(memoryOf(ranks)).toEqual({ stateBytes: 5, programBytes: 3, peakBytes: 9 })
})

test('a ratio compares medians', () => {
  expect(ratio([10, 4, 100], [2, 5, 1])).toBe(5)
})
