/** A stopwatch beside made-up events of a training, with a clock that the test sets. */
import { expect, test } from 'vitest'
import type { TrainEvent } from '../../../train/loop/events.ts'
import { Stopwatch } from './pace.ts'

/** A stopwatch whose events are [kind, seconds since the process started, milliseconds of the step or tokens]. */
function watched(events: readonly (readonly ['start' | 'train' | 'eval' | 'checkpoint', number, number?])[]) {
  let clock = 0
  const watch = new Stopwatch(() => clock)
  for (const [kind, at, value = 0] of events) {
    clock = at
    const text = { trainTokens: 1000, heldOutTokens: 100 }
    watch.event({ kind, step_ms: value, evaluated_tokens: value, ...text } as unknown as TrainEvent)
  }
  return watch
}

test('nothing is known before the second step', () => {
  expect(watched([]).pace).toBeNull()
  expect(watched([['start', 3]]).pace).toBeNull()
  expect(watched([['train', 5, 2000]]).pace).toBeNull()
})

test('starting ends at the first step, and includes the compilation of the evaluation after it', () => {
  // The first step takes 2 s and ends at 5 s; the evaluation is compiled until 6.5 s; steps of 1 s follow.
  const { pace } = watched([
    ['start', 3],
    ['train', 5, 2000],
    ['train', 7.5, 1000],
    ['train', 8.5, 900],
  ])
  expect(pace).toMatchObject({ start: 3 + 1.5, trainTokens: 1000, heldOutTokens: 100 })
})

test('a step takes the time since the step before, logs included; the first step of a process does not count', () => {
  const { pace } = watched([
    ['train', 5, 4000],
    ['train', 6, 1000],
    ['train', 7.1, 1000],
    ['train', 8.2, 1000],
  ])
  expect(pace?.step).toBeCloseTo(1.1)
})

test('a step after an evaluation or a checkpoint takes its own time only', () => {
  const { pace } = watched([
    ['train', 5, 4000],
    ['eval', 9, 50],
    ['checkpoint', 12],
    ['train', 20, 500],
  ])
  expect(pace).toMatchObject({ step: 0.5, save: 3 })
})

test('the time of a held-out token is that of the evaluation over its tokens, without the first evaluation', () => {
  const first = watched([
    ['train', 1, 1000],
    ['train', 2, 1000],
    ['eval', 6, 40],
  ])
  expect(first.pace?.evaluatedToken).toBeCloseTo(0.1)
  first.evaluated(12, 100)
  expect(first.pace?.load).toBeCloseTo(12 - 100 * 0.1)
  const second = watched([
    ['train', 1, 1000],
    ['train', 2, 1000],
    ['eval', 6, 40],
    ['train', 7, 1000],
    ['eval', 9, 40],
  ])
  expect(second.pace?.evaluatedToken).toBeCloseTo(0.05)
  expect(second.total.evaluations).toBeCloseTo(6)
})
