import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { normals } from '../law/testing/normals.ts'
import {
  estimateMean,
  estimateRatio,
  holm,
  inference,
  mean,
  pearson,
  regression,
  regressionWithin,
  standardDeviation,
} from './statistics.ts'

/** "Student" (1908), The probable error of a mean: extra hours of sleep of ten patients with two drugs. */
const first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
const second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
const sleep = second.map((hours, i) => hours - (first[i] ?? 0))

const sample = fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 2, maxLength: 12 })
const points = fc
  .array(fc.tuple(fc.integer({ min: -100, max: 100 }), fc.integer({ min: -100, max: 100 })), {
    minLength: 4,
    maxLength: 12,
  })
  .map((list) => ({ x: list.map(([x]) => x), y: list.map(([, y]) => y) }))
  .filter(({ x, y }) => new Set(x).size > 1 && new Set(y).size > 1)

describe('a mean of paired differences', () => {
  test("has the known mean, interval and p-value for Student's own data", () => {
    const estimate = estimateMean(sleep)
    expect(estimate?.mean).toBeCloseTo(1.58, 10)
    expect(standardDeviation(sleep)).toBeCloseTo(1.23, 2)
    expect(estimate?.interval?.[0]).toBeCloseTo(0.7, 2)
    expect(estimate?.interval?.[1]).toBeCloseTo(2.46, 2)
    expect(estimate?.p).toBeCloseTo(0.00283, 5)
  })

  test('has an interval that contains the truth in 95 % of repetitions, even for three values', () => {
    for (const n of [3, 5]) {
      const draw = normals(20_210_531 + n)
      const repetitions = 4000
      let covered = 0
      for (let i = 0; i < repetitions; i++) {
        const interval = estimateMean(Array.from({ length: n }, () => 0.3 + 2 * draw()))?.interval
        if (interval && interval[0] <= 0.3 && 0.3 <= interval[1]) covered++
      }
      // Three standard errors of a share of 0.95 over 4000 repetitions.
      expect(Math.abs(covered / repetitions - 0.95), `n = ${n}`).toBeLessThan(0.0104)
    }
  })

  test('has no interval for one value, and is null without values', () => {
    expect(estimateMean([0.5])).toEqual({ n: 1, mean: 0.5, interval: null, p: null })
    expect(estimateMean([])).toBeNull()
    expect([mean([]), standardDeviation([1])]).toEqual([null, null])
  })

  test('of equal values has an interval without width, and p 0 (p 1 if they are 0)', () => {
    expect(estimateMean([0.1, 0.1, 0.1])).toMatchObject({ p: 0 })
    expect(estimateMean([0, 0, 0])).toEqual({ n: 3, mean: 0, interval: [0, 0], p: 1 })
  })

  test('of rounding errors is zero, and so is their logarithm', () => {
    expect(estimateMean([-4.4e-16, -4.4e-16])).toEqual({ n: 2, mean: 0, interval: [0, 0], p: 1 })
    expect(estimateRatio([1 + 2 ** -52, 1 + 2 ** -52])).toEqual({ n: 2, mean: 1, interval: [1, 1], p: 1 })
  })

  test('that is not a number has no p-value that looks like a finding', () => {
    for (const intervals of ['student', 'anytime'] as const) {
      expect(inference(Number.NaN, 1, 4, intervals).p).toBeNaN()
      expect(inference(1, Number.NaN, 4, intervals).p).toBeNaN()
      expect(inference(1, 0, 4, intervals).p).toBeLessThan(0.001)
    }
  })

  test('moves with a shift, stretches with a scale, and does not depend on the order', () => {
    fc.assert(
      fc.property(
        sample,
        fc.integer({ min: -50, max: 50 }),
        fc.integer({ min: 1, max: 20 }),
        (values, shift, scale) => {
          const plain = estimateMean(values)
          const moved = estimateMean(values.toReversed().map((value) => scale * value + shift))
          expect(moved?.mean).toBeCloseTo(scale * (plain?.mean ?? 0) + shift, 6)
          for (const end of [0, 1] as const)
            expect(moved?.interval?.[end]).toBeCloseTo(scale * (plain?.interval?.[end] ?? 0) + shift, 6)
        },
      ),
    )
  })

  test('has an interval that excludes 0 exactly when p is below 0.05', () => {
    fc.assert(
      fc.property(sample, (values) => {
        const { interval, p } = estimateMean(values) ?? {}
        fc.pre(Math.abs((p ?? 0) - 0.05) > 1e-9)
        expect(interval && (interval[0] > 0 || interval[1] < 0)).toBe((p ?? 1) < 0.05)
      }),
    )
  })
})

describe('a ratio', () => {
  test('is a geometric mean with the interval of scipy on logarithms', () => {
    const estimate = estimateRatio([1.2, 1.1, 1.5])
    expect(estimate?.mean).toBeCloseTo(1.2557072356, 9)
    expect(estimate?.interval?.[0]).toBeCloseTo(0.8439082797, 9)
    expect(estimate?.interval?.[1]).toBeCloseTo(1.8684502803, 9)
    expect(estimate?.p).toBeCloseTo(0.1325930258, 9)
  })

  test('of inverted values is inverted', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 999 }), { minLength: 2, maxLength: 9 }), (values) => {
        const [up, down] = [estimateRatio(values), estimateRatio(values.map((value) => 1 / value))]
        expect((up?.mean ?? 0) * (down?.mean ?? 0)).toBeCloseTo(1, 9)
        expect((up?.interval?.[0] ?? 0) * (down?.interval?.[1] ?? 0)).toBeCloseTo(1, 9)
      }),
    )
  })

  test('is null if a value is not positive', () => {
    expect([estimateRatio([1, 0]), estimateRatio([1, Number.NaN]), estimateRatio([])]).toEqual([null, null, null])
  })
})

describe('a correlation', () => {
  const x = [0.31, 0.52, 0.88, 1.24, 1.9, 2.3]
  const y = [0.001, -0.004, 0.006, 0.003, 0.011, 0.009]

  test('has the values of scipy', () => {
    const correlation = pearson(x, y)
    expect(correlation?.r).toBeCloseTo(0.8295931457, 9)
    expect(correlation?.p).toBeCloseTo(0.0410835646, 9)
    expect(correlation?.interval?.[0]).toBeCloseTo(0.0551881628, 9)
    expect(correlation?.interval?.[1]).toBeCloseTo(0.9808092341, 9)
  })

  test('of too few or equal points has no interval, no p, or is null', () => {
    expect(pearson([1, 2, 4], [2, 2, 5])?.interval).toBeNull()
    expect(pearson([1, 2], [2, 3])).toEqual({ n: 2, r: 1, interval: null, p: null })
    expect([pearson([1], [2]), pearson([1, 1, 1], [1, 2, 3])]).toEqual([null, null])
  })

  test('of points on a line is 1 without NaN', () => {
    expect(pearson([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])).toMatchObject({ p: expect.closeTo(0, 9), interval: [1, 1] })
  })

  test('does not depend on scale and shift, and changes sign with one variable', () => {
    fc.assert(
      fc.property(points, ({ x, y }) => {
        const r = pearson(x, y)?.r ?? 0
        expect(pearson(y, x)?.r).toBeCloseTo(r, 9)
        expect(
          pearson(
            x.map((value) => 3 * value - 7),
            y,
          )?.r,
        ).toBeCloseTo(r, 9)
        expect(
          pearson(
            x,
            y.map((value) => -value),
          )?.r,
        ).toBeCloseTo(-r, 9)
      }),
    )
  })
})

describe('a slope', () => {
  test('has the values of scipy', () => {
    const line = regression([0.31, 0.52, 0.88, 1.24, 1.9, 2.3], [0.001, -0.004, 0.006, 0.003, 0.011, 0.009])
    expect(line?.slope).toBeCloseTo(0.0058358994, 9)
    expect(line?.intercept).toBeCloseTo(-0.0026211134, 9)
    expect(line?.interval?.[0]).toBeCloseTo(0.0003830622, 9)
    expect(line?.interval?.[1]).toBeCloseTo(0.0112887366, 9)
    expect(line?.p).toBeCloseTo(0.0410835646, 9)
  })

  test('within seeds does not depend on differences between seeds', () => {
    const x = [0, 1, 2]
    const lines = (offset: number) => [
      { x, y: [0, 1, 2] },
      { x, y: [offset, offset + 2, offset + 4] },
      { x, y: [-offset, -offset + 3, -offset + 6] },
    ]
    const near = regressionWithin(lines(0))
    expect(near?.slope).toBeCloseTo(2, 12)
    // Slopes 1, 2, 3: mean 2, standard error 1/√3, t with 2 degrees of freedom 4.3027.
    expect(near?.interval?.[0]).toBeCloseTo(2 - 4.302652729911 / Math.sqrt(3), 9)
    const far = regressionWithin(lines(1000))
    expect(far?.slope).toBeCloseTo(2, 9)
    expect(far?.interval?.[0]).toBeCloseTo(near?.interval?.[0] ?? 0, 9)
  })

  test('of one seed has no interval, and of points with equal x is null', () => {
    expect(regressionWithin([{ x: [0, 1, 2], y: [0, 1, 2] }])).toMatchObject({ slope: 1, interval: null, groups: 1 })
    expect(regressionWithin([{ x: [1, 1], y: [0, 1] }])).toBeNull()
    expect(regression([1, 2], [5, 7])).toEqual({ slope: 2, intercept: 3, interval: null, p: null })
  })
})

describe("Holm's correction", () => {
  test('has the values of R', () => {
    // p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    const adjusted = holm([0.01, 0.04, 0.03, 0.005])
    for (const [i, value] of [0.03, 0.06, 0.06, 0.02].entries()) expect(adjusted[i]).toBeCloseTo(value, 12)
    expect(holm([])).toEqual([])
    expect(holm([null, 0.04, 0.03, null])).toEqual([null, 0.06, 0.06, null])
  })

  test('never lowers a p-value, keeps the order of p-values, and is at most as strict as Bonferroni', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 10 }), (p) => {
        const adjusted = holm(p)
        p.forEach((value, i) => {
          const corrected = adjusted[i] ?? Number.NaN
          expect(corrected).toBeGreaterThanOrEqual(value)
          expect(corrected).toBeLessThanOrEqual(Math.min(1, p.length * value) + 1e-12)
          p.forEach((other, j) => {
            if (other < value) expect(adjusted[j]).toBeLessThanOrEqual(corrected)
          })
        })
      }),
    )
  })
})
