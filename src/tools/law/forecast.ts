/**
 * Predictions of a law with 80 % intervals: the difference in loss to a dense model, and the tokens from which on
 * experts pay. An interval adds three variances: the changes of the law when a seed is left out (the jackknife); the
 * misfit of arms that were left out, which grows beyond the fitted sizes and lengths of training; and, for a
 * measurement, the noise of its own runs. Student's t has the degrees of freedom of the sum (Welch and Satterthwaite).
 */
import tQuantile from '@stdlib/stats-base-dists-t-quantile'
import { differenceAt, type Point } from './joint-law.ts'
import { type Ends, type Law, tokensAt } from './law.ts'
import { mean } from './observations.ts'

const CONFIDENCE = 0.8

export interface Forecast {
  /** Loss with experts minus loss of the dense model, nats a token: below zero, experts pay. */
  readonly difference: number
  readonly low: number
  readonly high: number
}

/** @param seeds Number of seeds of a measurement whose mean is to be in the interval; 0 for the expected difference. */
export function forecast(law: Law, point: Point, seeds = 0): Forecast {
  const { residuals, withoutSeed, sizes } = law
  const difference = differenceAt(law.coefficients, point)
  if (point.experts === 1) return { difference: 0, low: 0, high: 0 }
  const others = withoutSeed.map((coefficients) => differenceAt(coefficients, point))
  const centre = mean(others)
  const seedFreedom = others.length - 1
  const ofSeeds = (seedFreedom / others.length) * others.reduce((sum, other) => sum + (other - centre) ** 2, 0)
  const [smallest = point, largest = point] = [sizes[0], sizes.at(-1)]
  const ofSizes = beyond(residuals.beyondSizes, [smallest.active, largest.active], point.active)
  const ofTokens = beyond(residuals.beyondTokens, tokensAt(law, point.active), point.tokens)
  const ofMisfit = residuals.misfit ** 2 + ofSizes ** 2 + ofTokens ** 2
  const ofRuns = seeds === 0 ? 0 : residuals.pair ** 2 / seeds
  const variance = ofSeeds + ofMisfit + ofRuns
  const uncertain = ofSeeds ** 2 / seedFreedom + ofMisfit ** 2 / Math.max(1, residuals.folds - 1)
  const freedom = uncertain === 0 ? Infinity : variance ** 2 / uncertain
  const half = tQuantile((1 + CONFIDENCE) / 2, Math.min(freedom, 1e6)) * Math.sqrt(variance)
  return { difference, low: difference - half, high: difference + half }
}

/** Further error of a point outside of a range. */
const beyond = ([below, above]: Ends, [low, high]: readonly [number, number], at: number): number =>
  below * Math.max(0, Math.log(low / at)) + above * Math.max(0, Math.log(at / high))

/** Break-even: the tokens from which on experts pay. Null if they pay at no considered length, 0 if at every one. */
export interface BreakEven {
  readonly tokens: number | null
  /**
   * 80 % interval: the tokens from which on the low end of the difference is below zero, and the tokens at which its
   * high end first is. That the interval of the difference widens beyond the fitted trainings says nothing about where
   * the difference fell below zero.
   */
  readonly low: number | null
  readonly high: number | null
}

/** Factor by which considered trainings may be shorter or longer than the trainings that the law was fitted to. */
const REACH = 8
const POINTS = 120

export function breakEven(law: Law, { active, experts }: Omit<Point, 'tokens'>): BreakEven {
  const [low, high] = tokensAt(law, active)
  const [from, to] = [Math.log(low / REACH), Math.log(high * REACH)]
  const grid = Array.from({ length: POINTS + 1 }, (_, i) => from + ((to - from) * i) / POINTS)
  const forecasts = grid.map((d) => forecast(law, { active, experts, tokens: Math.exp(d) }))
  const crossing = (of: (one: Forecast) => number, count = forecasts.length) =>
    fallsBelowZero(grid.slice(0, count).map(Math.exp), forecasts.slice(0, count).map(of))
  const pays = forecasts.findLastIndex(({ difference }) => !(difference < 0)) + 1
  const clear = forecasts.findIndex(({ high }, i) => i >= pays && high < 0)
  const found = crossing(({ difference }) => difference)
  const { kappa, onset } = law.coefficients
  return {
    // Up to the onset of a gain the difference is exactly zero, so an interpolation would find the length before it.
    tokens: found && kappa > 0 ? onset : found,
    low: crossing(({ low }) => low),
    high: clear < 0 ? null : crossing(({ high }) => high, clear + 1),
  }
}

/**
 * The x at which a curve over rising positive x falls below zero for good, interpolated over ln x; 0 if the whole curve
 * is below zero, null if its last value is not.
 */
export function fallsBelowZero(x: readonly number[], y: readonly number[]): number | null {
  const i = y.findLastIndex((value) => !(value < 0)) + 1
  if (i === 0 || i === y.length) return i === y.length ? null : 0
  const [before = 0, after = 0, left = 0, right = 0] = [y[i - 1], y[i], x[i - 1], x[i]]
  return left * (right / left) ** (before / (before - after))
}
