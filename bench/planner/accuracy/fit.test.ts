import { describe, expect, test } from 'vitest'
import type { Constants } from '../../../src/tools/plan/inputs/constants.ts'
import { type FitRow, fitConstants, priorConstants } from './fit.ts'
import { intervalFactor } from './intervals.ts'

/** Rows of each system whose times add up a product at the efficiency of a family, and a pass over memory. */
function rowsWith(truth: Constants, systems: readonly string[]): FitRow[] {
  const seconds =
    (family: 'a100' | 'h100', flops: number, bytes: number) =>
    ({ bandwidth, ...constants }: Constants) =>
      flops / constants[family] + bytes / bandwidth
  const works = [seconds('a100', 1, 0.1), seconds('a100', 0.2, 1), seconds('h100', 2, 0.1), seconds('h100', 0.1, 1)]
  return systems.flatMap((system) => works.map((predict) => ({ system, seconds: predict(truth), predict })))
}

describe('a fit', () => {
  const truth = { ...priorConstants(), a100: 0.8, h100: 0.6, bandwidth: 0.7 }
  const systems = Array.from({ length: 12 }, (_, i) => `system ${i}`)

  test('finds the constants that made the measurements, in spite of their priors', () => {
    const found = fitConstants(rowsWith(truth, systems))
    expect(found.a100).toBeCloseTo(0.8, 1)
    expect(found.h100).toBeCloseTo(0.6, 1)
    expect(found.bandwidth).toBeCloseTo(0.7, 1)
  })

  test('without rows keeps the priors', () => {
    const found = fitConstants([])
    for (const [name, value] of Object.entries(priorConstants()))
      expect(found[name as keyof Constants] / value).toBeCloseTo(1, 6)
  })

  test('is hardly moved by one measurement that is off by a factor of ten', () => {
    const rows = rowsWith(truth, systems)
    const spoilt = [
      ...rows,
      ...rows.slice(0, 1).map((row) => ({ ...row, system: 'spoilt', seconds: row.seconds * 10 })),
    ]
    expect(Math.abs(Math.log(fitConstants(spoilt).a100 / fitConstants(rows).a100))).toBeLessThan(0.1)
  })
})

describe('an interval', () => {
  const of = (errors: readonly number[]) => errors.map((error, i) => ({ system: `system ${i}`, error }))

  test('of m systems is the quantile (m + 1)/m · 80 % of their absolute errors', () => {
    // The quantile of nine systems is the 8th error: 8 ≥ 0.8 · 10.
    const errors = [0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8, 0.9]
    expect(Math.log(intervalFactor(of(errors)))).toBeCloseTo(0.8, 12)
  })

  test('of too few systems is the largest error', () => {
    expect(Math.log(intervalFactor(of([0.1, 0.2])))).toBeCloseTo(0.2, 12)
  })

  test('weighs a system by the root of its rows', () => {
    const many = Array.from({ length: 100 }, () => ({ system: 'many', error: 0.01 }))
    const others = of([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    // The small errors have 10 of 19 parts of the weight, so the median is small and the 88 % quantile is not.
    expect(Math.log(intervalFactor([...many, ...others]))).toBeCloseTo(0.5, 12)
    expect(Math.log(intervalFactor([...many, ...others], 0.45))).toBeCloseTo(0.01, 12)
  })
})
