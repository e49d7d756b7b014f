/** Intervals that may be looked at after every seed: their formula, their error, and what they cost. */
import tQuantile from '@stdlib/stats-base-dists-t-quantile'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { normals } from '../law/testing/normals.ts'
import { anytime, anytimeQuantile } from './anytime.ts'
import { estimateMean, type Intervals } from './statistics.ts'

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)

/**
 * The test statistic from its definition: the density of values up to their scale, averaged over a normal prior of
 * mean/deviation with variance 10, over the same density for mean 0. A scale-free density is the integral of the normal
 * density over ln σ. Both integrals are sums over a fine grid.
 */
function ratioByIntegration(values: readonly number[]): number {
  const [thetas, logs] = [grid(-40, 40, 800), grid(-7, 7, 700)]
  const density = (theta: number, sigma: number) =>
    sigma ** -values.length * Math.exp(-sum(values.map((value) => (value / sigma - theta) ** 2)) / 2)
  const overScales = (theta: number) => sum(logs.map((log) => density(theta, Math.exp(log))))
  const prior = (theta: number) => Math.exp((-theta * theta) / 20) / Math.sqrt(20 * Math.PI)
  return (sum(thetas.map((theta) => prior(theta) * overScales(theta))) * 80) / 800 / overScales(0)
}

const grid = (from: number, to: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => from + ((i + 0.5) * (to - from)) / n)

describe('the p-value', () => {
  test.each([[[1, 1.5, 0.8]], [[-0.2, -0.25, -0.15, -0.3, -0.2]], [[0.02, 0.03, 0.01, 0.025, 0.018, 0.03, 0.02]]])(
    'of %j is the inverse of the ratio of mixed densities, by integration',
    (values) => {
      const p = estimateMean(values, 'anytime')?.p ?? 1
      expect(p).toBeLessThan(1)
      expect(p * ratioByIntegration(values)).toBeCloseTo(1, 3)
    },
  )

  test('is below 0.05 exactly if the interval excludes 0, and does not depend on the scale', () => {
    const values = fc.array(fc.integer({ min: -100, max: 1000 }), { minLength: 3, maxLength: 12 })
    fc.assert(
      fc.property(values, (list) => {
        const { interval, p } = estimateMean(list, 'anytime') ?? {}
        fc.pre(Math.abs((p ?? 0) - 0.05) > 1e-9)
        expect(interval && (interval[0] > 0 || interval[1] < 0)).toBe((p ?? 1) < 0.05)
        const scaled = estimateMean(
          list.map((value) => value * 1e-4),
          'anytime',
        )
        expect(scaled?.p).toBeCloseTo(p ?? 1, 9)
      }),
    )
  })

  test('of equal values is that of an infinite t, and 1 if they are 0', () => {
    expect(estimateMean([0.25, 0.25, 0.25], 'anytime')).toMatchObject({
      interval: [0.25, 0.25],
      p: expect.closeTo(0.1 / 3.1),
    })
    expect(estimateMean([0, 0, 0], 'anytime')).toEqual({ n: 3, mean: 0, interval: [0, 0], p: 1, intervals: 'anytime' })
  })
})

test('one or two values have no interval, since no difference of them is sure at every look', () => {
  expect(estimateMean([0.1, 0.1001], 'anytime')).toMatchObject({ n: 2, interval: null, p: null })
  expect(anytime(1, null, 5)).toEqual({ interval: null, p: null })
  expect(anytimeQuantile(2)).toBe(Infinity)
  expect(anytimeQuantile(3)).toBeLessThan(Infinity)
})

test('looking after every seed finds a difference that is not there in at most 5 % of studies, unlike with Student’s interval', () => {
  const draw = normals(20_231_003)
  const [paths, most] = [3000, 30]
  const found: Record<Intervals, number> = { student: 0, anytime: 0 }
  for (let i = 0; i < paths; i++) {
    const values = Array.from({ length: most }, draw)
    for (const intervals of ['student', 'anytime'] as const)
      for (let n = 2; n <= most; n++) {
        const { interval } = estimateMean(values.slice(0, n), intervals) ?? {}
        if (!interval || (interval[0] <= 0 && interval[1] >= 0)) continue
        // The study stops here.
        found[intervals]++
        break
      }
  }
  expect(found.anytime / paths).toBeLessThan(0.05)
  // Not vacuous: it finds some, and a study that looks with Student's interval errs more than five times as often as 5 %.
  expect(found.anytime / paths).toBeGreaterThan(0.01)
  expect(found.student / paths).toBeGreaterThan(0.25)
})

test('looking during a study and deciding its end by Student’s interval errs in 5 to 8 % of studies', () => {
  const draw = normals(1976)
  const [paths, seeds] = [6000, 8]
  const finds = (values: readonly number[], intervals: Intervals) => {
    const { interval } = estimateMean(values, intervals) ?? {}
    return interval ? interval[0] > 0 || interval[1] < 0 : false
  }
  let errors = 0
  for (let i = 0; i < paths; i++) {
    const values = Array.from({ length: seeds }, draw)
    const early = [3, 4, 5, 6, 7].some((n) => finds(values.slice(0, n), 'anytime'))
    if (early || finds(values, 'student')) errors++
  }
  expect(errors / paths).toBeGreaterThan(0.05)
  expect(errors / paths).toBeLessThan(0.075)
})

test('the interval is wider than Student’s by the factors that docs/study.md has', () => {
  const rows = [3, 4, 5, 6, 8, 10, 20, 30].map((n) => {
    const [own, student] = [anytimeQuantile(n), tQuantile(0.975, n - 1)]
    return [n, own.toFixed(1), student.toFixed(1), (own / student).toFixed(1)].join(' ')
  })
  expect(rows).toEqual([
    '3 13.2 4.3 3.1',
    '4 6.5 3.2 2.1',
    '5 5.4 2.8 1.9',
    '6 4.9 2.6 1.9',
    '8 4.4 2.4 1.9',
    '10 4.2 2.3 1.8',
    '20 3.8 2.1 1.8',
    '30 3.7 2.0 1.8',
  ])
})
