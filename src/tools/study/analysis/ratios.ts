/**
 * Products of two independent ratios: a speed-up in steps is measured over seeds, the ratio of step times
 * over turns, and a speed-up in time is the product of the two. Its error combines both errors.
 */
import { type Intervals, mean, named, standardDeviation } from '../statistics.ts'
import type { Effect } from './claims/decision.ts'

/** Size below which numbers are rounding errors; without a spread over seeds, they would look like a finding. */
const ROUNDING = 1e-12

/** Mean and standard error over seeds of differences, or of logarithms of ratios. Null without values. */
export function effectOf(measured: readonly number[], intervals: Intervals = 'student'): Effect | null {
  const values = measured.map((value) => (Math.abs(value) < ROUNDING ? 0 : value))
  const [middle, sd] = [mean(values), standardDeviation(values)]
  if (middle === null) return null
  return {
    n: values.length,
    mean: middle,
    error: sd === null ? null : sd / Math.sqrt(values.length),
    freedom: values.length - 1,
    ...named(intervals),
  }
}

/** The error of a sum of two independent numbers. Variances add up; Welch and Satterthwaite give degrees of freedom. */
export function combinedError(
  a: Pick<Effect, 'error' | 'freedom'>,
  b: Pick<Effect, 'error' | 'freedom'>,
): Pick<Effect, 'error' | 'freedom'> {
  if (a.error === null || b.error === null) return { error: null, freedom: 0 }
  const variance = a.error ** 2 + b.error ** 2
  const freedom = variance === 0 ? 1 : variance ** 2 / (a.error ** 4 / a.freedom + b.error ** 4 / b.freedom)
  return { error: Math.sqrt(variance), freedom }
}

/**
 * The logarithm of the product of two geometric means. Its error is null if a factor was measured only once. Returns
 * null if a factor was not measured, or a ratio is not positive and finite.
 */
export function productOf(
  one: readonly number[],
  other: readonly number[],
  intervals: Intervals = 'student',
): Effect | null {
  if ([...one, ...other].some((ratio) => !(ratio > 0 && ratio < Infinity))) return null
  const [a, b] = [effectOf(one.map(Math.log)), effectOf(other.map(Math.log))]
  if (a === null || b === null) return null
  return { n: a.n, mean: a.mean + b.mean, ...combinedError(a, b), ...named(intervals) }
}
