import { describe, expect, test } from 'vitest'
import { type ArmSketch, type StudySketch, studyOf } from '../../testing/results.ts'
import { Runs } from '../runs.ts'
import { costToLoss } from './cost-to-loss.ts'
import { lossAt, perFlop, perSecond } from './equal-cost.ts'

const line = (...points: readonly (readonly [number, number])[]) => ({ evaluations: () => points })
const curve = (...points: readonly (readonly [number, number])[]) => ({
  evaluations: points.map(([step, loss]) => ({
    step,
    loss,
    seconds: step,
    losses: { train: loss, eval: loss, none: loss },
  })),
})

test('a loss is interpolated between two evaluations, and never extrapolated', () => {
  const falling = curve([100, 5], [300, 4], [400, 3])
  expect([100, 200, 300, 350, 400].map((step) => lossAt(falling, step))).toEqual([5, 4.5, 4, 3.5, 3])
  expect(lossAt(falling, 99)).toBeNull()
  expect(lossAt(falling, 401)).toBeNull()
  expect(lossAt(curve([100, Number.NaN], [300, 4]), 200)).toBeNull()
})

describe('at equal cost', () => {
  const base: ArmSketch = { ...line([0, 5], [1000, 3]), trainFlops: 6e13 }
  // This arm falls by 4 in 1000 steps: at x steps its loss is 5 − 0.004 x; the baseline’s is 5 − 0.002 x.
  const quick: ArmSketch = { ...line([0, 5], [1000, 1]), trainFlops: 9e13 }
  const runs = (sketch: StudySketch) => new Runs(studyOf(sketch))
  const contrast = { baseline: 'base', arm: 'arm' }

  test('in FLOPs both arms are read where the cheaper arm ends', () => {
    // The baseline ends at 1000 of its steps, which cost as much as 667 of the arm’s: 5 − 0.004 · 667 − 3.
    const dearer = perFlop(runs({ arms: { base, arm: quick } }), contrast)
    expect(dearer?.estimate.mean).toBeCloseTo(5 - (0.004 * 1000) / 1.5 - 3, 9)
    expect(dearer?.verdict).toBe('better')
    // At four times the cost the arm is read at 250 steps, where its loss is still higher. In the end it is lower, and how a
    // training of 250 steps with a decay of its own would end is open.
    const four = perFlop(runs({ arms: { base, arm: { ...quick, trainFlops: 24e13 } } }), contrast)
    expect(four?.estimate.mean).toBeCloseTo(5 - 1 - 3, 9)
    expect(four?.verdict).toBe('open')
    // A cheaper arm ends first: at 500 steps of the baseline.
    const cheap = perFlop(runs({ arms: { base, arm: { ...quick, trainFlops: 3e13 } } }), contrast)
    expect(cheap?.estimate.mean).toBeCloseTo(1 - 4, 9)
  })

  test('a verdict against the more expensive arm needs whole trainings that agree', () => {
    const slow: ArmSketch = { ...line([0, 5], [1000, 3.05]), trainFlops: 6e13 }
    const against = (arm: ArmSketch) => perFlop(runs({ arms: { base, arm } }), contrast)
    expect(against({ ...slow, trainFlops: 9e13 })?.verdict).toBe('worse')
    // At 900 steps of the baseline its loss is 3.2, since its learning rate has not decayed; in the end it is the better one.
    const cheaper = against({ ...slow, trainFlops: 5.4e13 })
    expect(cheaper?.estimate.mean).toBeCloseTo(3.05 - 3.2, 9)
    expect(cheaper?.verdict).toBe('open')
  })

  test('curves that end at different shares of their trainings are not compared', () => {
    const early: ArmSketch = { ...line([0, 5], [900, 3]), trainFlops: 6e13 }
    expect(perFlop(runs({ arms: { base, arm: early } }), contrast)).toBeNull()
    const both = costToLoss(runs({ arms: { base: early, arm: early } }), contrast)
    expect(both.bySeed.map(({ arm, baseline }) => arm / baseline)).toEqual([1, 1, 1, 1, 1])
    expect(costToLoss(runs({ arms: { base, arm: early } }), contrast).bySeed).toEqual([])
  })

  const timed = (...ms: number[]) => ({
    timings: [
      { arm: 'base', stepMs: 20, turnsMs: [20, 20, 20].slice(0, ms.length), engine: '' },
      { arm: 'arm', stepMs: ms[0] ?? 0, turnsMs: ms, engine: '' },
    ],
  })

  test('in seconds the step time counts, and turns that disagree on it leave the verdict open', () => {
    const atStepTime = (...ms: number[]) => perSecond(runs({ arms: { base, arm: quick }, ...timed(...ms) }), contrast)
    expect(atStepTime(30, 30, 30)?.estimate.mean).toBeCloseTo(5 - (0.004 * 1000) / 1.5 - 3, 9)
    expect(atStepTime(30, 30, 30)?.verdict).toBe('better')
    expect(atStepTime(80, 80, 80)?.verdict).toBe('open')
    // At twice the step time the losses are equal; these turns leave open whether the step time is above or below that.
    expect(atStepTime(20, 36, 60)?.verdict).toBe('open')
    expect(atStepTime(30)?.verdict).toBe('open')
    expect(perSecond(runs({ arms: { base, arm: quick } }), contrast)).toBeNull()
  })

  test('evaluations on different batches are not compared', () => {
    const other = { ...quick, settings: { 'train.evalBatches': 4 } }
    expect(perFlop(runs({ arms: { base, arm: other } }), contrast)).toBeNull()
  })
})
