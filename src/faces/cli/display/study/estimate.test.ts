/** The text of an estimate. */
import { expect, test } from 'vitest'
import type { ArmEstimate, StudyEstimate } from '../../../../tools/study/estimate/estimate.ts'
import { colorsFor } from '../../io.ts'
import { fakeIo } from '../../testing/fake.ts'
import { budgetText, estimateText, refusedBudget } from './estimate.ts'

const { io } = fakeIo()
const colors = colorsFor(io.stdout, io.env)

const armOf = (arm: string, ...warnings: string[]): ArmEstimate => ({
  ...{ arm, settings: {}, parameters: 1e6, activeParameters: 1e6, flopsPerToken: 1e6, steps: 10, runs: 2 },
  ...{ stepSeconds: 0.1, runSeconds: 60, warnings },
})

const estimate = (arms: readonly ArmEstimate[], more: Partial<StudyEstimate> = {}): StudyEstimate => ({
  ...{ arms, seeds: 2, runs: 4, finished: 0, jobs: 2, threads: 1 },
  seconds: { training: 60, evaluation: 30, starting: 0.01, timing: 0, total: 90 },
  possible: { runs: 0, seconds: 0 },
  bytes: { peak: 2e6, kept: 1e6 },
  ...{ notes: [], budget: null },
  ...more,
})

test('causes that take no time are not named', () => {
  expect(estimateText(estimate([armOf('a')]), colors)).toMatch(/about 1m 30s: training 1m 00s, evaluation 30s\n/)
})

test('a warning is printed once, with its arms', () => {
  const arms = ['a', 'b', 'c', 'd', 'e'].map((name) => armOf(name, 'slow', ...(name === 'e' ? [] : ['long'])))
  const text = estimateText(estimate([...arms, armOf('f', 'slow', 'alone')]), colors)
  for (const line of ['all arms: slow', 'a, b, c and 1 more: long', 'f: alone']) expect(text).toContain(`\n  ${line}\n`)
})

test('an arm without a measurement has dashes', () => {
  const failed = { ...armOf('a', 'its first steps failed: no memory'), stepSeconds: null, runSeconds: null }
  expect(estimateText(estimate([failed]), colors)).toMatch(/ a .* 10 +– +– +2\n/)
})

test('a budget says how many of the seeds fit', () => {
  const choice = { seconds: 7200, of: 4, needed: 6000, stepsShare: null }
  expect(budgetText({ ...choice, seeds: 3 })).toBe('2h 00m: the first 3 of 4 seeds, at most about 1h 40m')
  expect(budgetText({ ...choice, seeds: 4 })).toBe('2h 00m: all 4 seeds, at most about 1h 40m')
})

test('a refused budget names the time that two seeds need, and proposes steps only if some would fit', () => {
  const choice = { seconds: 1800, seeds: null, of: 4, needed: 3600, stepsShare: 0.25 }
  expect(refusedBudget(choice, 300)).toMatch(
    /^invalid --budget: 30m 00s \(two seeds need about 1h 00m: .* about 25 % of the steps, --set train\.steps=75, but/,
  )
  expect(refusedBudget(choice, null)).not.toContain('--set')
  expect(refusedBudget({ ...choice, stepsShare: null }, 300)).toContain('no number of steps would fit')
  expect(refusedBudget({ ...choice, of: 1 }, 300)).toContain('(its seed needs about')
})
