/** The power of paired comparisons, against published tables and simulated studies. */
import { expect, test } from 'vitest'
import { normals } from '../law/testing/normals.ts'
import { intervalOf } from './analysis/claims/decision.ts'
import { productOf, withError } from './analysis/ratios.ts'
import { detectable, detectableEffect, power, seedsFor } from './power.ts'
import { estimateMean, type Intervals, pearson } from './statistics.ts'

test("the numbers of pairs match Cohen's tables", () => {
  // Effects of 0.2, 0.5 and 0.8 deviations at 80 % power, two-sided 5 %: 199, 34 and 15 pairs.
  expect(seedsFor(0.2, 1)).toBe(199)
  expect(seedsFor(0.5, 1)).toBe(34)
  expect(seedsFor(0.8, 1)).toBe(15)
})

test('power matches the worked example of R', () => {
  // power.t.test(n = 20, delta = 1, sd = 1): two samples, so 38 degrees of freedom and √10; power = 0.8689528.
  expect(power(Math.sqrt(10), 38)).toBeCloseTo(0.8689528, 6)
})

test('power without an effect equals the level, and never falls as the effect grows', () => {
  for (const freedom of [1, 2, 4, 9, 200]) {
    expect(power(0, freedom)).toBeCloseTo(0.05, 4)
    const powers = [0, 1, 2, 4, 8, 16, 32].map((effect) => power(effect, freedom))
    expect(powers).toEqual([...powers].sort((a, b) => a - b))
  }
})

test.each<[number, Intervals]>([
  [2, 'student'],
  [3, 'student'],
  [5, 'student'],
  [3, 'anytime'],
  [5, 'anytime'],
])(
  'four of five simulated studies with %i seeds find the effect that they can detect with intervals of %s',
  (seeds, intervals) => {
    const deviation = 0.3
    const effect = detectableEffect(deviation, seeds, intervals)
    const normal = normals(seeds)
    const studies = 20_000
    let found = 0
    for (let i = 0; i < studies; i++) {
      const differences = Array.from({ length: seeds }, () => effect + deviation * normal())
      if ((estimateMean(differences, intervals)?.p ?? 1) < 0.05) found++
    }
    // Six standard errors of a share of 0.8 over 20,000 studies.
    expect(Math.abs(found / studies - 0.8)).toBeLessThan(0.017)
  },
)

test.each<Intervals>(['student', 'anytime'])(
  'the detectable effect scales with the deviation, and half of it needs more seeds, with intervals of %s',
  (intervals) => {
    const detectableWith = (deviation: number, seeds: number) => detectableEffect(deviation, seeds, intervals)
    expect(detectableWith(0.02, 5)).toBeCloseTo(2 * detectableWith(0.01, 5), 12)
    expect(seedsFor(detectableWith(0.02, 5), 0.02, intervals)).toBe(5)
    const half = seedsFor(detectableWith(0.02, 5) / 2, 0.02, intervals)
    expect(half).toBeGreaterThan(5)
    expect(detectableWith(0.02, half)).toBeLessThanOrEqual(detectableWith(0.02, 5) / 2)
    expect(detectableWith(0.02, half - 1)).toBeGreaterThan(detectableWith(0.02, 5) / 2)
  },
)

test('more than 10,000 seeds are infinitely many', () => {
  // With so many seeds t is normal: (1.96 + 0.8416)² / effect² seeds, and about two more.
  expect(seedsFor(0.0285, 1)).toBeCloseTo((2.8016 / 0.0285) ** 2, -1)
  expect(seedsFor(0.0278, 1)).toBe(Infinity)
  expect(seedsFor(0, 1)).toBe(Infinity)
})

test('about four of five simulated correlations find the one that their arms can detect, as Fisher’s z', () => {
  const arms = 12
  const error = 1 / Math.sqrt(arms - 3)
  const r = Math.tanh(detectable(error, 1e7))
  const normal = normals(5)
  const studies = 20_000
  let found = 0
  for (let i = 0; i < studies; i++) {
    const x = Array.from({ length: arms }, normal)
    const y = x.map((value) => r * value + Math.sqrt(1 - r * r) * normal())
    if (Math.abs(Math.atanh(pearson(x, y)?.r ?? 0)) > 1.959964 * error) found++
  }
  // z is normal only approximately: its mean is too large by about r / (2n − 2), so more studies find it (0.84).
  expect(found / studies).toBeGreaterThan(0.78)
  expect(found / studies).toBeLessThan(0.86)
})

test('about four of five simulated products of two ratios find the one that they can detect, with the wider interval', () => {
  // Logarithms of the ratio of steps over four seeds and of step times over three turns.
  const [seeds, turns] = [
    { n: 4, deviation: 0.1 },
    { n: 3, deviation: 0.05 },
  ]
  const errorOf = ({ n, deviation }: typeof seeds) => ({ error: deviation / Math.sqrt(n), freedom: n - 1 })
  const combined = withError({ n: seeds.n, mean: 0, ...errorOf(seeds) }, errorOf(turns))
  const effect = detectable(combined.error ?? 0, combined.freedom)
  const normal = normals(6)
  const studies = 20_000
  let found = 0
  for (let i = 0; i < studies; i++) {
    const draws = ({ n, deviation }: typeof seeds, mean: number) =>
      Array.from({ length: n }, () => Math.exp(mean + deviation * normal()))
    const interval = intervalOf(
      productOf(draws(seeds, effect), draws(turns, 0)) ?? { n: 0, mean: 0, error: null, freedom: 0 },
    )
    if (interval && (interval[0] > 0 || interval[1] < 0)) found++
  }
  // Which of the two intervals is the wider one differs from study to study, so fewer studies find it (0.75).
  expect(found / studies).toBeGreaterThan(0.73)
  expect(found / studies).toBeLessThan(0.82)
})

test('seeds without an interval detect nothing; a deviation of zero detects everything', () => {
  expect(detectableEffect(0.1, 1)).toBe(Infinity)
  expect(detectableEffect(0.1, 2, 'anytime')).toBe(Infinity)
  expect(detectableEffect(0, 3)).toBe(0)
  expect(seedsFor(0.1, 0)).toBe(2)
  expect(seedsFor(0.1, 0, 'anytime')).toBe(3)
})
