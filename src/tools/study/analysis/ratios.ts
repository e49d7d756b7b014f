/**
 * Effects over seeds, and a second, independent error beside that over seeds. A speed-up in steps is measured over seeds,
 * the ratio of step times over turns, and a speed-up in time is the product of the two: its error combines both errors.
 */
import { type Intervals, meanWithError, named } from '../statistics.ts'
import { type Effect, intervalOf } from './claims/decision.ts'

/** Mean and standard error over seeds of differences, or of logarithms of ratios. Null without values. */
export function effectOf(values: readonly number[], intervals: Intervals = 'student'): Effect | null {
  const measured = meanWithError(values)
  return measured && { ...measured, ...named(intervals) }
}

type Spread = Pick<Effect, 'error' | 'freedom'>

/** The error of a sum of two independent numbers. Variances add up; Welch and Satterthwaite give degrees of freedom. */
function combinedError(a: Spread, b: Spread): Spread {
  if (a.error === null || b.error === null) return { error: null, freedom: 0 }
  const variance = a.error ** 2 + b.error ** 2
  const freedom = variance === 0 ? 1 : variance ** 2 / (a.error ** 4 / a.freedom + b.error ** 4 / b.freedom)
  return { error: Math.sqrt(variance), freedom }
}

/**
 * An effect over seeds with a second, independent error, over turns or documents. With few seeds, Welch and Satterthwaite
 * give the sum of both errors more degrees of freedom than the seeds have, and so a narrower interval than over seeds
 * alone. The error is then that over seeds, so an effect has no interval if its seeds alone have none.
 */
export function withError(seeds: Effect, other: Spread): Effect {
  const both = { ...seeds, ...combinedError(seeds, other) }
  return widthOf(both) < widthOf(seeds) ? seeds : both
}

function widthOf(effect: Effect): number {
  const interval = intervalOf(effect)
  return interval === null ? Infinity : interval[1] - interval[0]
}

/**
 * The logarithm of the product of two geometric means, the first over seeds. Its error is null if a factor was measured
 * only once. Returns null if a factor was not measured, or a ratio is not positive and finite.
 */
export function productOf(
  bySeed: readonly number[],
  others: readonly number[],
  intervals: Intervals = 'student',
): Effect | null {
  if ([...bySeed, ...others].some((ratio) => !(ratio > 0 && ratio < Infinity))) return null
  const [seeds, other] = [effectOf(bySeed.map(Math.log), intervals), effectOf(others.map(Math.log))]
  return seeds && other && { ...withError(seeds, other), mean: seeds.mean + other.mean }
}
