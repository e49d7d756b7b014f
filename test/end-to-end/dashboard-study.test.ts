/**
 * The differences that the dashboard has for the runs of a study against the records and the statistics of its report.
 *
 * @slow
 */
import { expect, test, vi } from 'vitest'
import type { Collection, DifferencesAnswer } from '../../src/faces/watch/api.ts'
import { estimateMean } from '../../src/tools/study/statistics.ts'
import { type Arm, armsOf, contrastsOf, pairsText } from '../../web/src/curves/comparison/arms.ts'
import { watching } from './dashboard-page.ts'
import { studyRuns, timeouts, twoArms } from './study-runs.ts'

vi.setConfig(timeouts)
const { workspace, studyFile, study, resultsIn } = studyRuns()

test('the differences of pairs, their mean and their interval are those of the records of the study', {
  timeout: 240_000,
}, async () => {
  const set = { 'train.evalEvery': 4, 'train.evalBatches': 0 }
  const file = studyFile('small', { ...twoArms, seeds: [1, 2, 3], intervals: 'anytime', set })
  expect(await study(file, 'small')).toMatchObject({ code: 0 })
  const records = resultsIn('small').records.flatMap((record) => (record.status === 'finished' ? [record] : []))
  // A study evaluates the end of a run by itself, and adds the evaluation to the log of the run.
  const lossOf = (k: number, seed: number) =>
    records.find((record) => record.config.model.moe?.k === k && record.seed === seed)?.heldOut.capacities.train.loss ??
    Number.NaN
  const expected = estimateMean(
    [1, 2, 3].map((seed) => lossOf(2, seed) - lossOf(1, seed)),
    'anytime',
  )
  if (!expected?.interval) throw new Error('the records have no interval')

  const { running, address } = await watching(workspace(), 'watch', 'small')
  const get = async <T>(path: string) => (await (await fetch(`${address}${path}`)).json()) as T
  const collected = () => get<Collection>('api/collection')
  await expect.poll(async () => (await collected()).progress, { timeout: 60_000 }).toBeNull()
  const arms = armsOf((await collected()).runs)
  expect(arms.map(({ name }) => name)).toEqual(['top-1', 'top-2'])
  const query = { metric: 'eval/train_capacity/loss', pairs: pairsText(contrastsOf(arms, arms[0] as Arm)) }
  const answer = await get<DifferencesAnswer>(`api/differences?${new URLSearchParams(query)}`)
  running.kill('SIGINT')
  await running.ended

  const [found] = answer.differences
  expect(found?.x).toEqual([4, 8, 12])
  const { interval } = expected
  const outcome = interval[1] < 0 ? 'lower' : interval[0] > 0 ? 'higher' : 'open'
  expect(found?.verdict).toMatchObject({ step: 12, pairs: 3, outcome })
  expect(found?.verdict?.mean).toBeCloseTo(expected.mean, 4)
  // Records have six digits of these losses, and an end of the interval is 13 standard errors from the mean.
  expect(found?.verdict?.interval?.[0]).toBeCloseTo(interval[0], 3)
  expect(found?.verdict?.interval?.[1]).toBeCloseTo(interval[1], 3)
})
