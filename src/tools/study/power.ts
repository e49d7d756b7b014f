/**
 * The power of a paired comparison, two-sided at the 5 % level. With n differences of deviation s and a true
 * mean d, Student's t has the noncentral t distribution with n − 1 degrees of freedom and noncentrality
 * d·√n / s (Cohen, Statistical Power Analysis, 1988; Lehmann and Romano, Testing Statistical Hypotheses, 5.2).
 *
 * It is the one definition of the smallest effect that a study can see: the pilot and the column *Visible from* of a
 * report both have the effect with a power of 80 %. With half the width of an interval the power would be about
 * 50 % (58 % with four seeds).
 */
import normalCdf from '@stdlib/stats-base-dists-normal-cdf'
import tQuantile from '@stdlib/stats-base-dists-t-quantile'
import { anytimeQuantile, MIN_ANYTIME } from './anytime.ts'
import type { Intervals } from './statistics.ts'

const normal = normalCdf.factory(0, 1)
const LEVEL = 0.05
const POWER = 0.8
/** Largest number of seeds that is considered; no study has more. */
const MAX_SEEDS = 10_000

/**
 * Probability that |t| exceeds its two-sided 5 % point, for a noncentral t with `freedom` degrees of freedom; with
 * anytime intervals, that it exceeds their quantile at this number of seeds, as if nobody had looked before.
 *
 * t is (z + noncentrality) / u, where z is standard normal and u² is χ² over its degrees of freedom. So the
 * distribution of t is a mean of normal distributions over the density of u, u^(ν−1)·exp(−ν·u²/2) up to a constant.
 */
export function power(noncentrality: number, freedom: number, intervals: Intervals = 'student'): number {
  const critical = intervals === 'anytime' ? anytimeQuantile(freedom + 1) : tQuantile(1 - LEVEL / 2, freedom)
  // Integrate over eight standard deviations of u, 1/√(2ν), on both sides of its mean, which is near 1.
  const reach = 8 / Math.sqrt(2 * freedom)
  const [from, to] = [Math.max(0, 1 - reach), 1 + reach]
  const pieces = 2000
  let [total, beyond] = [0, 0]
  for (let i = 0; i < pieces; i++) {
    const u = from + ((i + 0.5) * (to - from)) / pieces
    const density = Math.exp((freedom - 1) * Math.log(u) - (freedom * (u * u - 1)) / 2)
    total += density
    beyond += density * (normal(noncentrality - critical * u) + normal(-noncentrality - critical * u))
  }
  return beyond / total
}

/** Noncentralities with a power of 80 % by degrees of freedom: all numbers of a report have few of them. */
const known = new Map<string, number>()

/** The noncentrality at which four studies of five find an effect. */
function noncentralityFor(freedom: number, intervals: Intervals): number {
  const key = `${intervals} ${freedom}`
  const found = known.get(key)
  if (found !== undefined) return found
  let [low, high] = [0, 1]
  while (power(high, freedom, intervals) < POWER) high *= 2
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2
    if (power(middle, freedom, intervals) < POWER) low = middle
    else high = middle
  }
  known.set(key, high)
  return high
}

/** The fewest values that have an interval. */
const fewestFor = (intervals: Intervals): number => (intervals === 'anytime' ? MIN_ANYTIME : 2)

/**
 * The smallest true effect that four of five such studies find, if the standard error that was observed is the true
 * one: their two-sided 95 % interval excludes zero.
 * @param error Standard error of the effect; the result has its unit.
 * @param freedom Degrees of freedom of the error; may be a fraction, as those of Welch and Satterthwaite are.
 * @returns Infinity if the values are too few for an interval
 */
export function detectable(error: number, freedom: number, intervals: Intervals = 'student'): number {
  return freedom + 1 < fewestFor(intervals) ? Infinity : noncentralityFor(freedom, intervals) * error
}

/**
 * The smallest true mean difference that this number of seeds finds in four studies of five.
 * @param deviation Standard deviation of the differences; the result has its unit.
 * @returns Infinity for seeds that are too few for an interval
 */
export const detectableEffect = (deviation: number, seeds: number, intervals: Intervals = 'student'): number =>
  detectable(deviation / Math.sqrt(seeds), seeds - 1, intervals)

/**
 * The fewest seeds that find a true mean difference of `effect` in four studies of five.
 * @returns Infinity for more than 10,000 seeds
 */
export function seedsFor(effect: number, deviation: number, intervals: Intervals = 'student'): number {
  const fewest = fewestFor(intervals)
  if (deviation === 0) return fewest
  let [low, high] = [fewest - 1, fewest]
  // The tolerance makes an effect from `detectableEffect` need the same number of seeds, despite rounding.
  const isEnough = (seeds: number) =>
    power((effect * Math.sqrt(seeds)) / deviation, seeds - 1, intervals) >= POWER - 1e-9
  while (!isEnough(high)) {
    if (high === MAX_SEEDS) return Infinity
    ;[low, high] = [high, Math.min(2 * high, MAX_SEEDS)]
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (isEnough(middle)) high = middle
    else low = middle
  }
  return high
}
