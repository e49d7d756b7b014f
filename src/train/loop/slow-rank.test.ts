import { expect, test } from 'vitest'
import type { RanksRecord } from '../step/metrics/records.ts'
import { SlowRanks, slowRankText } from './slow-rank.ts'

const roster = ['a', 'a', 'b', 'b'].map((host, rank) => ({ rank, host, pid: 100 + rank }))

/** A step in which every rank waits for the slowest. */
function record(compute_ms: readonly number[], kept?: readonly number[]): RanksRecord {
  const slowest = Math.max(...compute_ms)
  const wait_ms = compute_ms.map((ms) => slowest - ms)
  const mean = wait_ms.reduce((sum, ms) => sum + ms, 0) / (compute_ms.length - 1)
  return {
    kind: 'ranks',
    step: 1,
    tokens: 1,
    step_ms: compute_ms.map(() => slowest),
    compute_ms,
    all_to_all_ms: compute_ms.map(() => 0),
    all_reduce_ms: compute_ms.map(() => 0),
    wait_ms,
    waited_for_ms: compute_ms.map((ms) => (ms === slowest ? mean : 0)),
    ...(kept && { kept_per_rank: kept }),
    compute_max_over_median: 1,
    communication_share: 0,
    wait_share: 0,
  }
}

const warnings = (records: readonly RanksRecord[]): string[] => {
  const ranks = new SlowRanks(roster)
  return records.flatMap((of) => ranks.add(of) ?? [])
}
const times = (count: number, of: RanksRecord): RanksRecord[] => Array.from({ length: count }, () => of)
const even = record([100, 100, 100, 100])
const slow = record([100, 100, 140, 100])

test('a rank that is slow over 20 steps is reported once, with its share of the step', () => {
  expect(warnings([...times(1, even), ...times(2, record([100, 100, 1000, 100])), ...times(97, slow)])).toEqual([
    // Without its two longest steps, the rank takes (100 + 17·140)/18 = 137.8 on average, 1.38 times the 100 of the
    // others. They wait 17·40/18 = 37.8 for it, 27 % of a step.
    'rank 2 (b, PID 102) computes 1.38 times as long as the median of the other ranks; they wait 27 % of a step for it ' +
      '(over the last 20 steps)',
  ])
})

test('a few slow steps, and ranks that differ little, are not reported', () => {
  expect(warnings([...times(9, slow), ...times(11, even)])).toEqual([])
  expect(warnings([...times(2, record([100, 100, 9000, 100])), ...times(18, even)])).toEqual([])
  expect(warnings(times(60, record([100, 100, 124, 100])))).toEqual([])
  expect(warnings(times(19, slow))).toEqual([])
})

test('a slow rank is reported again when it becomes slower, or when another rank is slow', () => {
  const slower = record([100, 100, 200, 100])
  const other = record([100, 140, 100, 100])
  const found = warnings([slow, slower, other, even, slow].flatMap((of) => times(20, of)))
  expect(found.map((text) => text.slice(0, 40))).toEqual([
    'rank 2 (b, PID 102) computes 1.40 times ',
    'rank 2 (b, PID 102) computes 2.00 times ',
    'rank 1 (a, PID 101) computes 1.40 times ',
    'rank 2 (b, PID 102) computes 1.40 times ',
  ])
})

test('a rank cannot become slower unnoticed, in small changes', () => {
  const rising = [140, 160, 180, 200].map((ms) => record([100, 100, ms, 100]))
  expect(warnings(rising.flatMap((of) => times(20, of)))).toHaveLength(2)
})

test('of two ranks, the slow one is compared with the other', () => {
  expect(warnings(times(20, record([130, 100])))).toHaveLength(1)
})

test('experts that get many rows are given as a reason', () => {
  const [text] = warnings(times(20, record([100, 100, 100, 150], [10, 10, 10, 20])))
  expect(text).toContain('they wait 33 % of a step for it; its experts get 1.60 times the mean of the rows')
})

test('the summary has shares of all steps but the first', () => {
  const ranks = new SlowRanks(roster)
  expect(ranks.summary()).toBeNull()
  ranks.add(record([1e6, 1, 1, 1]))
  ranks.add(slow)
  ranks.add(record([100, 100, 100, 140]))
  const summary = ranks.summary()
  expect(summary).toMatchObject({ ranks: 4, load: null, slow: null })
  expect(summary?.compute).toBeCloseTo((2 * 440) / (2 * 560), 10)
  expect(summary?.wait).toBeCloseTo((2 * 120) / (2 * 560), 10)
  ranks.add(record([100, 100, 100, 300]))
  const { slow: found } = ranks.summary() ?? {}
  expect(found).toMatchObject({ rank: 3, host: 'b', pid: 103 })
  // Rank 3 computes 540 against 300, 300 and 340; the others wait 40 and 200 for it in steps of 140, 140 and 300.
  expect(found?.ratio).toBeCloseTo(540 / 300, 10)
  expect(found?.cost).toBeCloseTo(240 / 580, 10)
  expect(found && slowRankText(found)).toMatch(/^rank 3 \(b, PID 103\) computes 1\.80 times/)
})
