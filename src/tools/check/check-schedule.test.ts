import { expect, test } from 'vitest'
import { ownSchedules, type ScheduleInput } from '../../train/step/optimizer/own-schedule.ts'
import { checkSchedule } from './check-schedule.ts'

let count = 0
function found(rate: (input: ScheduleInput) => number): string {
  const id = `test@${String(count++).padStart(16, '0')}`
  ownSchedules.register(id, { name: 'test', rate })
  return checkSchedule(id)
    .checks.filter(({ passed }) => !passed)
    .map(({ found }) => found)
    .join('\n')
}

test('a schedule that decays to zero passes', () => {
  expect(found(({ step, steps, learningRate }) => (learningRate * (steps - step)) / steps)).toBe('')
})

test.each<[string, (input: ScheduleInput) => number, RegExp]>([
  ['divides by a warm-up of zero', ({ step, warmup }) => step / warmup, /rate returned Infinity at step 1 of 1 /],
  [
    'divides by the steps after the warm-up',
    ({ step, steps, warmup }) => (steps - step) / (steps - warmup),
    /Infinity at step 1 of 10 /,
  ],
  ['falls below zero', ({ step }) => 1 - step / 500, /rate returned -0\.00200000\d* at step 501 of 1000/],
  ['draws', () => Math.random(), /and then/],
  [
    'throws',
    () => {
      throw new Error('not yet')
    },
    /rate: not yet at step 1/,
  ],
])('a schedule that %s is found', (_, rate, message) => {
  expect(found(rate)).toMatch(message)
})
