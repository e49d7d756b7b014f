/**
 * The statistics of a study. Think of a study as paired measurements: a seed is a subject, an arm a
 * treatment. So the sample size is the number of seeds, differences are taken within a seed before
 * averaging, and every interval is Student's t over seeds, or while seeds are still to come, an interval that may be
 * looked at any number of times (`anytime.ts`). A study has few seeds, often three to five, so
 * nothing here is approximated by a normal distribution except Fisher's z.
 *
 * Too few values give null, never NaN: one value has a mean and no interval.
 */
import tCdf from '@stdlib/stats-base-dists-t-cdf'
import tQuantile from '@stdlib/stats-base-dists-t-quantile'
import { anytime } from './anytime.ts'

export type Interval = readonly [low: number, high: number]

/** How intervals over seeds are made: for a number of seeds that is fixed in advance, or for any number of looks. */
export type Intervals = 'student' | 'anytime'

/** The intervals of a number, which are Student's unless they are named. */
export interface WithIntervals {
  readonly intervals?: Intervals
}

/** A mean with its interval. */
export interface Estimate extends WithIntervals {
  readonly n: number
  readonly mean: number
  /** 95 % interval; null when there are too few values. */
  readonly interval: Interval | null
  /** Two-sided p-value of the mean being 0 (of a ratio being 1). */
  readonly p: number | null
}

const CONFIDENCE = 0.95
/** Degrees of freedom at which Student's t is practically the normal distribution. */
export const NORMAL_FREEDOM = 1e7
/** Size below which numbers are rounding errors; without a spread over seeds, they would look like a finding. */
const ROUNDING = 1e-12
/** The 97.5 % point of the standard normal distribution, for Fisher's z. */
const NORMAL_975 = 1.959963984540054

export function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : average(values)
}

/** The standard deviation of a sample, with n − 1 in the denominator; null for fewer than two values. */
export function standardDeviation(values: readonly number[]): number | null {
  return values.length < 2 ? null : Math.sqrt(squares(values) / (values.length - 1))
}

/** A mean with its standard error, which is null for a single value. */
export interface MeanWithError {
  readonly n: number
  readonly mean: number
  readonly error: number | null
  /** Degrees of freedom of the error. */
  readonly freedom: number
}

/**
 * The mean of differences or of logarithms of ratios, with its standard error. Rounding errors count as 0. Null without
 * values.
 */
export function meanWithError(measured: readonly number[]): MeanWithError | null {
  const values = measured.map((value) => (Math.abs(value) < ROUNDING ? 0 : value))
  const [n, sd] = [values.length, standardDeviation(values)]
  return n === 0 ? null : { n, mean: average(values), error: sd === null ? null : sd / Math.sqrt(n), freedom: n - 1 }
}

/** The mean of values, such as paired differences, with its interval (Student's has n − 1 degrees of freedom). */
export function estimateMean(values: readonly number[], intervals: Intervals = 'student'): Estimate | null {
  const measured = meanWithError(values)
  if (measured === null) return null
  const { n, mean, error, freedom } = measured
  return { n, mean, ...inference(mean, error, freedom, intervals), ...named(intervals) }
}

/** The field of a number whose intervals are not Student's. */
export const named = (intervals: Intervals = 'student'): WithIntervals => (intervals === 'student' ? {} : { intervals })

/**
 * The geometric mean of ratios; its interval comes from their logarithms, so 2 and 1/2 are equally far from 1.
 * Null without ratios, or if a ratio is not positive and finite.
 */
export function estimateRatio(ratios: readonly number[], intervals: Intervals = 'student'): Estimate | null {
  if (ratios.some((ratio) => !(ratio > 0 && ratio < Infinity))) return null
  const logs = estimateMean(ratios.map(Math.log), intervals)
  if (logs === null) return null
  const interval = logs.interval && ([Math.exp(logs.interval[0]), Math.exp(logs.interval[1])] as const)
  return { ...logs, mean: Math.exp(logs.mean), interval }
}

export interface Correlation {
  readonly n: number
  readonly r: number
  /** 95 % interval by Fisher's z; null for fewer than four points. */
  readonly interval: Interval | null
  /** Two-sided p-value by Student's t with n − 2 degrees of freedom; null for fewer than three points. */
  readonly p: number | null
}

/** Pearson's correlation of x and y. Null for fewer than two points, or when all x or all y are equal. */
export function pearson(x: readonly number[], y: readonly number[]): Correlation | null {
  const n = x.length
  const spread = Math.sqrt(squares(x) * squares(y))
  if (n < 2 || spread === 0) return null
  const r = Math.max(-1, Math.min(1, products(x, y) / spread))
  const z = Math.atanh(r)
  const half = NORMAL_975 / Math.sqrt(n - 3)
  return {
    n,
    r,
    interval: n < 4 ? null : [Math.tanh(z - half), Math.tanh(z + half)],
    p: n < 3 ? null : twoSided(r / Math.sqrt((1 - r * r) / (n - 2)), n - 2),
  }
}

export interface Slope {
  readonly slope: number
  readonly intercept: number
  /** 95 % interval of the slope; null when there are too few points or groups. */
  readonly interval: Interval | null
  readonly p: number | null
}

/** Least squares over independent points (n − 2 degrees of freedom). Null for one point, or when all x are equal. */
export function regression(x: readonly number[], y: readonly number[]): Slope | null {
  const n = x.length
  const spread = squares(x)
  if (n < 2 || spread === 0) return null
  const slope = products(x, y) / spread
  const intercept = average(y) - slope * average(x)
  const residual = y.reduce((sum, value, i) => sum + (value - intercept - slope * (x[i] ?? 0)) ** 2, 0)
  const error = n < 3 ? null : Math.sqrt(residual / (n - 2) / spread)
  return { slope, intercept, ...student(slope, error, n - 2) }
}

/**
 * The slope within groups: one line per group (seed), then the interval over the lines. The points of a
 * seed share the effect of that seed, so they are not independent and may not be counted as if they were.
 * Groups in which all x are equal have no slope and are omitted.
 */
export function regressionWithin(
  groups: readonly { readonly x: readonly number[]; readonly y: readonly number[] }[],
  intervals: Intervals = 'student',
): (Slope & WithIntervals & { readonly groups: number }) | null {
  const lines = groups.flatMap(({ x, y }) => regression(x, y) ?? [])
  const slope = estimateMean(
    lines.map((line) => line.slope),
    intervals,
  )
  if (slope === null) return null
  const intercept = average(lines.map((line) => line.intercept))
  const { mean, interval, p } = slope
  return { slope: mean, intercept, interval, p, groups: lines.length, ...named(intervals) }
}

/**
 * Holm's correction of p-values: if corrected values of at most 0.05 count as findings, the chance that any
 * finding is false is at most 0.05, however the tests depend on each other. A null stands for no test and
 * stays null.
 */
export function holm(p: readonly (number | null)[]): (number | null)[] {
  const tests = p.flatMap((value, index) => (value === null ? [] : [{ value, index }]))
  const adjusted = p.map((): number | null => null)
  let largest = 0
  for (const [rank, { value, index }] of tests.toSorted((a, b) => a.value - b.value).entries()) {
    largest = Math.max(largest, Math.min(1, (tests.length - rank) * value))
    adjusted[index] = largest
  }
  return adjusted
}

/**
 * The 95 % interval of a value with a standard error, and the two-sided p-value of the value being zero; both
 * are null if there are too few values: with one kind of intervals fewer than two, with the other fewer than three.
 */
export const inference = (
  value: number,
  error: number | null,
  freedom: number,
  intervals: Intervals = 'student',
): ReturnType<typeof student> => (intervals === 'anytime' ? anytime : student)(value, error, freedom)

/** {@link inference} by Student's t. */
function student(
  value: number,
  error: number | null,
  freedom: number,
): { readonly interval: Interval | null; readonly p: number | null } {
  if (error === null || freedom < 1) return { interval: null, p: null }
  const half = error === 0 ? 0 : tQuantile((1 + CONFIDENCE) / 2, freedom) * error
  return { interval: [value - half, value + half], p: value === 0 ? 1 : twoSided(value / error, freedom) }
}

/** Two-sided p-value: the probability of a t at least as far from 0. An infinite t (no spread) has 0, and NaN has NaN. */
function twoSided(t: number, freedom: number): number {
  return Math.min(1, 2 * tCdf(-Math.abs(t), freedom))
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Sum of squared distances from the mean; exactly 0 for equal values, despite rounding. */
function squares(values: readonly number[]): number {
  if (values.every((value) => value === values[0])) return 0
  return products(values, values)
}

function products(x: readonly number[], y: readonly number[]): number {
  const [meanX, meanY] = [average(x), average(y)]
  return x.reduce((sum, value, i) => sum + (value - meanX) * ((y[i] ?? meanY) - meanY), 0)
}
