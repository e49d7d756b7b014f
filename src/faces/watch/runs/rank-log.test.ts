import { expect, test } from 'vitest'
import { RankLog } from './rank-log.ts'

const record = (compute: number[], over: Record<string, unknown> = {}) => ({
  compute_ms: compute,
  all_to_all_ms: compute.map(() => 1),
  all_reduce_ms: compute.map(() => 2),
  wait_ms: compute.map((ms) => Math.max(...compute) - ms),
  waited_for_ms: compute.map(() => 0),
  ...over,
})

function logOf(records: readonly ReturnType<typeof record>[], maxNumbers?: number): RankLog {
  const log = new RankLog(maxNumbers)
  records.forEach((each, i) => {
    log.add(i + 1, each)
  })
  return log
}

test('times of one step come from its record, and unknown times are null', () => {
  const log = logOf([record([5, 7]), record([6, 9], { kept_per_rank: [30, null] })])
  expect(log.ranks(1)).toEqual({
    steps: [1, 2],
    of: 2,
    from: 2,
    to: 2,
    used: 1,
    compute: [6, 9],
    computeOverOthers: [6 / 9, 9 / 6],
    allToAll: [1, 1],
    allReduce: [2, 2],
    wait: [3, 0],
    waitedFor: [0, 0],
    kept: [30, null],
  })
  expect(log.ranks(1, 1)).toMatchObject({ to: 1, compute: [5, 7], kept: [null, null] })
  expect(log.ranks(1, 0)).toMatchObject({ to: 1 })
})

test('times of several steps are means without the longest tenth of the steps', () => {
  const log = logOf([...Array.from({ length: 18 }, (_, i) => record([i, 20])), record([900, 0]), record([0, 900])])
  // The mean of 0 to 17.
  expect(log.ranks(20)).toMatchObject({ from: 1, to: 20, used: 18, compute: [8.5, 20] })
  expect(log.ranks(5, 10)).toMatchObject({ from: 6, to: 10, used: 5, compute: [7, 20] })
})

test('steps with another number of ranks, before a run was resumed, do not count', () => {
  const log = logOf([record([9, 9, 9]), record([9, 9, 9]), record([4, 6]), record([6, 8])])
  expect(log.ranks(20)).toMatchObject({ from: 3, to: 4, used: 2, compute: [5, 7] })
  expect(log.ranks(20, 2)).toMatchObject({ from: 1, to: 2, compute: [9, 9, 9] })
})

test('steps that are written again replace the earlier records', () => {
  const log = logOf([record([1]), record([2]), record([3])])
  log.cutFrom(2)
  expect(log.ranks(9)).toMatchObject({ steps: [1], of: 1, to: 1 })
  log.add(2, record([5]))
  expect(log.ranks(1)).toMatchObject({ steps: [1, 2], compute: [5] })
})

test('a long run keeps evenly spaced records', () => {
  const log = logOf(
    Array.from({ length: 1000 }, (_, i) => record([i, i])),
    100 * 2 * 6,
  )
  const { steps = [], of } = log.ranks(1) ?? {}
  expect(of).toBe(1000)
  expect(steps.length).toBeGreaterThan(40)
  expect(steps.length).toBeLessThanOrEqual(100)
  expect(new Set(steps.slice(1).map((step, i) => step - (steps[i] as number))).size).toBe(1)
})

test('lines without lists of numbers are left out', () => {
  const log = new RankLog()
  for (const compute_ms of [undefined, 5, [], new Array(1e5).fill(1)]) log.add(1, { compute_ms })
  expect(log.isEmpty).toBe(true)
  expect(log.ranks(1)).toBeUndefined()
  log.add(1, { compute_ms: ['a', null, 3], wait_ms: 'x' })
  expect(log.ranks(1)).toMatchObject({ compute: [null, null, 3], wait: [null, null, null] })
})
