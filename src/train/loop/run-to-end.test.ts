import { expect, test } from 'vitest'
import { runSchema } from '../../core/config/run-config.ts'
import { runToEnd } from './run-to-end.ts'

const config = runSchema.parse({ train: { steps: 7, evalEvery: 3, checkpointEvery: 4 } })

/** The calls that a training receives, in order; a step is its number. */
async function course(options: { from?: number; stopAt?: number; saveAt?: number } = {}) {
  const { from = 0, stopAt = Number.POSITIVE_INFINITY, saveAt = null } = options
  const asked: (number | string)[] = []
  let done = from
  const isStopped = async () => {
    asked.push('?')
    return done >= stopAt
  }
  const step = async () => void asked.push(++done)
  const ask = (what: string) => async () => void asked.push(`${what} ${done}`)
  await runToEnd(config, { done: () => done, isStopped, step, evaluate: ask('eval'), checkpoint: ask('save') }, saveAt)
  return asked
}
const withoutQuestions = async (options?: Parameters<typeof course>[0]) =>
  (await course(options)).filter((what) => what !== '?')

test('evaluations and checkpoints come at their intervals, and both after the last step', async () => {
  expect(await withoutQuestions()).toEqual([1, 2, 3, 'eval 3', 4, 'save 4', 5, 6, 'eval 6', 7, 'eval 7', 'save 7'])
})

test('a stopped training saves its last step, once', async () => {
  expect(await withoutQuestions({ stopAt: 2 })).toEqual([1, 2, 'save 2'])
  expect(await withoutQuestions({ stopAt: 4 })).toEqual([1, 2, 3, 'eval 3', 4, 'save 4'])
})

test('a continued training has the intervals of a whole training, and saves nothing without a step', async () => {
  expect(await withoutQuestions({ from: 5 })).toEqual([6, 'eval 6', 7, 'eval 7', 'save 7'])
  expect(await withoutQuestions({ from: 5, stopAt: 0 })).toEqual([])
  expect(await withoutQuestions({ from: 7 })).toEqual([])
})

test('the step from which branches begin is saved too', async () => {
  expect(await withoutQuestions({ saveAt: 5 })).toContain('save 5')
  expect(await withoutQuestions({ saveAt: 4 })).toEqual(await withoutQuestions())
})

test('isStopped is called before each step and after the last, as ranks need for their last message', async () => {
  const asked = await course({ from: 5 })
  expect(asked).toEqual(['?', 6, 'eval 6', '?', 7, 'eval 7', 'save 7', '?'])
})
