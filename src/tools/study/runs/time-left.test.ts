/** The time left of a running study, with a clock that the test sets. */
import { expect, test } from 'vitest'
import { loadConfig } from '../../../node/run/load-config.ts'
import type { Cell } from '../contract.ts'
import { cellOf } from '../grid/cells.ts'
import type { Pace } from './pace.ts'
import { TimeLeft, type TimeLeftOptions } from './time-left.ts'

const pace: Pace = {
  step: 1,
  evaluatedToken: 0.01,
  evaluation: 0,
  start: 4,
  load: 2,
  save: 0,
  trainTokens: 9000,
  heldOutTokens: 1000,
}

/** Runs of 20 steps of 1 s: 4 s of start, an evaluation of 1 s after the last step, then 2 s of loading and 10 s. */
async function runs(count: number): Promise<Cell[]> {
  const sets = [
    'model.moe=null',
    'train.steps=20',
    'train.evalEvery=20',
    'train.batch=2',
    'model.sequence=50',
    'train.evalBatches=1',
  ]
  const config = await loadConfig('tiny', sets)
  return Array.from({ length: count }, (_, i) => cellOf('a', i + 1, 'common', config))
}
const WHOLE = 4 + 20 + 1 + 2 + 10

function timeLeft(more: Partial<TimeLeftOptions> = {}) {
  const clock = { now: 100 }
  const extras = { elsewhere: 0, specialised: new Set<string>() }
  const options = { jobs: 1, threads: 1, timed: [], timingThreads: 1, extras, now: () => clock.now, ...more }
  return { clock, left: new TimeLeft(options) }
}

test('the first steps of the first run give an estimate of the whole study', async () => {
  const cells = await runs(3)
  const { left } = timeLeft()
  left.plan(cells, [])
  left.begin(cells[0] as Cell)
  expect(left.seconds()).toBeNull()
  left.update(cells[0] as Cell, 2, 'training', pace)
  expect(left.seconds()).toBeCloseTo(WHOLE - 4 - 2 + 2 * WHOLE)
})

test('the estimate is counted down while a long evaluation reports nothing', async () => {
  const cells = await runs(2)
  const { clock, left } = timeLeft()
  left.plan(cells, [])
  left.begin(cells[0] as Cell)
  left.update(cells[0] as Cell, 20, 'evaluation', pace)
  expect(left.seconds()).toBeCloseTo(12 + WHOLE)
  clock.now += 7
  expect(left.seconds()).toBeCloseTo(5 + WHOLE)
  // An evaluation that takes longer than expected does not shorten the other runs.
  clock.now += 7
  expect(left.seconds()).toBeCloseTo(WHOLE)
})

test('runs are shared among jobs and other processes, and later phases begin after the phase', async () => {
  const cells = await runs(8)
  const { left } = timeLeft({ jobs: 2 })
  const [first, second] = cells as [Cell, Cell]
  left.plan(cells.slice(0, 4), cells.slice(4))
  for (const cell of [first, second]) left.begin(cell)
  left.update(first, 20, 'evaluation', pace)
  left.update(second, 20, 'evaluation', pace)
  expect(left.seconds()).toBeCloseTo(12 + WHOLE + 2 * WHOLE)
  left.plan(cells.slice(0, 4), cells.slice(4), 2)
  expect(left.seconds()).toBeCloseTo(WHOLE + WHOLE)
  left.end(first)
  left.end(second)
  expect(left.seconds()).toBeCloseTo(WHOLE + WHOLE)
})

test('step timing counts: five turns of 70 steps and a start, for each timed arm', async () => {
  const cells = await runs(1)
  const { left } = timeLeft({ timed: cells, timingThreads: 2 })
  left.plan(cells, [])
  left.begin(cells[0] as Cell)
  expect(left.timings()).toBeNull()
  left.update(cells[0] as Cell, 20, 'evaluation', pace)
  const timings = 5 * (4 + 70 * 0.5)
  expect(left.timings()).toBeCloseTo(timings)
  expect(left.seconds()).toBeCloseTo(12 + timings)
})
