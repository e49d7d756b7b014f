/**
 * Laws of made-up results: their predictions where nothing was trained, and whether their intervals are honest.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import { breakEven, fallsBelowZero, forecast } from './forecast.ts'
import { differenceAt, lossAt, type Point } from './joint-law.ts'
import { lackingForLaw, lawOf, outside, tokensAt } from './law.ts'
import { normals } from './testing/normals.ts'
import {
  knownGain,
  knownLaw,
  lossBy,
  mapNoise,
  mapSizes,
  simulate,
  simulatedCoverage,
  truths,
  unseen,
} from './testing/simulated.ts'

const experts = [2, 4, 8, 16, 32]
const quiet = { seed: 0.01, run: 0, branch: 0 }
const known = lossBy(knownLaw)
const points = [...unseen.between, ...unseen.larger]

/** Tokens at which the loss with experts falls below the loss of the dense model, by bisection. */
function trueBreakEven(law: (point: Point) => number, active: number, count: number): number {
  let [low, high] = [Math.log(active / 10), Math.log(active * 1000)]
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    const point = { active, tokens: Math.exp(middle), experts: count }
    if (law(point) > law({ ...point, experts: 1 })) low = middle
    else high = middle
  }
  return Math.exp(low)
}

describe('a law', () => {
  test('of results without noise of single runs has the differences of the known law where nothing was trained', () => {
    const law = lawOf(simulate({ law: known, sizes: mapSizes, experts, noise: quiet }, normals(1)))
    for (const point of points)
      expect(differenceAt(law.coefficients, point)).toBeCloseTo(differenceAt(knownLaw, point), 2)
    for (const { active } of mapSizes) {
      const ratio = (breakEven(law, { active, experts: 8 }).tokens ?? 0) / trueBreakEven(known, active, 8)
      expect(ratio).toBeGreaterThan(0.9)
      expect(ratio).toBeLessThan(1.1)
    }
  }, 60_000)

  test('has the form of the results: terms of the experts if they cost loss at first, and else a gain', () => {
    const at = (truth: typeof knownLaw) =>
      lawOf(simulate({ law: lossBy(truth), sizes: mapSizes, experts: [2, 8, 32], noise: mapNoise }, normals(7)))
    expect(at(knownLaw).form.transform).not.toBe('gain')
    const law = at(knownGain)
    expect(law.form.transform).toBe('gain')
    for (const point of points)
      expect(differenceAt(law.coefficients, point)).toBeCloseTo(differenceAt(knownGain, point), 1.7)
    for (const { active } of mapSizes) {
      const { tokens } = breakEven(law, { active, experts: 8 })
      expect(tokens).toBe(law.coefficients.onset)
      expect(Math.abs((tokens ?? 0) / knownGain.onset - 1)).toBeLessThan(0.25)
    }
  }, 60_000)

  test('of experts that need more text the more of them there are has a limited gain', () => {
    const truth = { ...knownGain, share: 3 }
    const law = lawOf(simulate({ law: lossBy(truth), sizes: mapSizes, experts, noise: quiet }, normals(9)))
    expect(law.form.transform).toBe('limited')
    expect(Math.abs((law.coefficients.share ?? 0) / 3 - 1)).toBeLessThan(0.25)
    for (const point of points) expect(differenceAt(law.coefficients, point)).toBeCloseTo(differenceAt(truth, point), 2)
  }, 60_000)

  test('does not carry what a left-out size says into the fit without it', () => {
    // Results of the largest size say that its experts gain nothing. No fit without them can know that.
    const truth = (point: Point) =>
      point.active > 2e6 ? lossAt(knownGain, { ...point, experts: 1 }) : lossAt(knownGain, point)
    const law = lawOf(simulate({ law: truth, sizes: mapSizes, experts: [2, 8, 32], noise: quiet }, normals(8)))
    expect(law.residuals.beyondSizes[1]).toBeGreaterThan(0.02)
  }, 60_000)

  test('predicts the same differences whatever the noise of a seed, which cancels in differences', () => {
    const at = (seed: number) =>
      lawOf(simulate({ law: known, sizes: mapSizes, experts: [2, 8], noise: { ...quiet, seed } }, normals(2)))
    const [one, other] = [at(0), at(0.05)]
    for (const point of points.filter((each) => each.experts === 8))
      expect(differenceAt(other.coefficients, point)).toBeCloseTo(differenceAt(one.coefficients, point), 2)
  }, 60_000)

  test.each(['of the form that is fitted', 'with experts that cost more early in training'])(
    'has intervals that contain about four of five new measurements, from results %s',
    (name) => {
      const truth = truths[name] as (point: Point) => number
      const { between, larger } = simulatedCoverage(truth, 8, 3)
      const all = [between, between, between, larger]
      const mean = (of: (one: (typeof all)[number]) => number) =>
        all.reduce((sum, one) => sum + of(one), 0) / all.length
      expect(mean(({ inside }) => inside)).toBeGreaterThan(0.68)
      // Intervals are not so wide that they say nothing: measurements have a standard deviation of 0.0045.
      expect(mean(({ width }) => width)).toBeLessThan(0.03)
    },
    240_000,
  )

  test('measures by how much it misses longer trainings, which it leaves out one after another', () => {
    const missed = (truth: (point: Point) => number) =>
      lawOf(simulate({ law: truth, sizes: mapSizes, experts: [2, 8, 32], noise: quiet }, normals(6))).residuals
        .beyondTokens
    // Nats a token for each factor of e in tokens, at the short and at the long end.
    const [exact = [], ...others] = Object.values(truths).map(missed)
    expect(Math.max(...exact)).toBeLessThan(0.001)
    for (const ends of others) expect(Math.min(...ends)).toBeGreaterThan(0.003)
  }, 60_000)

  test.each(Object.keys(truths))(
    'finds break-even within a quarter, from results %s',
    (name) => {
      const truth = truths[name] as (point: Point) => number
      const random = normals(3)
      const ratios = Array.from({ length: 6 }, () => {
        const law = lawOf(simulate({ law: truth, sizes: mapSizes, experts: [2, 8, 32], noise: mapNoise }, random))
        return mapSizes.map(
          ({ active }) => (breakEven(law, { active, experts: 8 }).tokens ?? 0) / trueBreakEven(truth, active, 8),
        )
      }).flat()
      expect(ratios.filter((ratio) => Math.abs(ratio - 1) <= 0.25).length / ratios.length).toBeGreaterThan(0.8)
    },
    240_000,
  )

  test('has wider intervals for fewer seeds, and beyond the fitted sizes or tokens if it missed those', () => {
    const law = lawOf(simulate({ law: known, sizes: mapSizes, experts: [2, 8], noise: mapNoise }, normals(4)))
    const width = (active: number, seeds: number, beyondSizes = law.residuals.beyondSizes) => {
      const residuals = { ...law.residuals, beyondSizes }
      const { low, high } = forecast({ ...law, residuals }, { active, tokens: 8 * active, experts: 8 }, seeds)
      return high - low
    }
    expect(width(1e6, 1)).toBeGreaterThan(width(1e6, 4))
    expect(width(1e6, 4)).toBeGreaterThan(width(1e6, 0))
    expect(width(6e6, 0, [0, 0.02])).toBeGreaterThan(width(6e6, 0, [0, 0]) + 0.01)
    expect(width(1e6, 0, [0, 0.02])).toBe(width(1e6, 0, [0, 0]))
    const longer = (tokens: number, above: number) => {
      const residuals = { ...law.residuals, beyondTokens: [0, above] as const }
      const { low, high } = forecast({ ...law, residuals }, { active: 1e6, tokens, experts: 8 })
      return high - low
    }
    expect(longer(128e6, 0.02)).toBeGreaterThan(longer(128e6, 0) + 0.01)
    expect(longer(32e6, 0.02)).toBe(longer(32e6, 0))
    expect(forecast(law, { active: 1e6, tokens: 1e7, experts: 1 })).toEqual({ difference: 0, low: 0, high: 0 })
    // Where experts begin to pay within the trained lengths does not depend on what is unsure beyond them.
    const crossing = (above: number) =>
      breakEven({ ...law, residuals: { ...law.residuals, beyondTokens: [0, above] } }, { active: 1e6, experts: 8 })
    expect(crossing(0.5)).toEqual(crossing(0))
    expect(crossing(0).high).toBeLessThan(32e6)
  }, 60_000)
})

describe('the range of a law', () => {
  const law = { sizes: [sized(1e6, 1e6, 64e6), sized(4e6, 4e6, 16e6)], experts: [2, 8] } as unknown as Parameters<
    typeof outside
  >[0]
  function sized(active: number, low: number, high: number) {
    return { active, tokens: [low, high] as const, lengths: 3, seeds: 2 }
  }

  test('names what is outside, and interpolates the trained lengths between sizes', () => {
    expect(outside(law, { active: 2e6, tokens: 30e6, experts: 8 })).toBeNull()
    expect(outside(law, { active: 2e6, tokens: 60e6, experts: 8 })).toBe('tokens')
    expect(outside(law, { active: 6e6, tokens: 12e6, experts: 8 })).toBe('size')
    expect(outside(law, { active: 2e6, tokens: 30e6, experts: 16 })).toBe('experts')
    expect(tokensAt(law, 2e6)).toEqual([expect.closeTo(2e6, 0), expect.closeTo(32e6, 0)])
  })

  test('needs results of two sizes, three lengths, two numbers of experts and two seeds', () => {
    const pairs = simulate({ law: known, sizes: mapSizes, experts, noise: mapNoise }, normals(5))
    expect(lackingForLaw(pairs)).toBeNull()
    expect(lackingForLaw(pairs.filter(({ active }) => active < 5e5))).toBe('2 sizes (there is 1)')
    expect(lackingForLaw(pairs.filter(({ seed, experts }) => seed === 1 && experts === 2))).toBe(
      '2 numbers of experts (there is 1), 2 seeds (there is 1)',
    )
    expect(lackingForLaw([])).toMatch(/2 sizes \(there are 0\)/)
  })
})

test('a curve falls below zero where its interpolation over ln x does, and only if it stays there', () => {
  expect(fallsBelowZero([1, 4, 16], [0.3, 0.1, -0.1])).toBeCloseTo(8, 9)
  // A curve that rises again has not fallen for good.
  expect(fallsBelowZero([1, 4, 16, 64], [-0.2, 0.1, -0.1, -0.2])).toBeCloseTo(8, 9)
  expect(fallsBelowZero([1, 4], [-0.1, -0.2])).toBe(0)
  expect(fallsBelowZero([1, 4], [-0.1, 0.2])).toBeNull()
  expect(fallsBelowZero([1, 4], [0.2, 0.1])).toBeNull()
})
