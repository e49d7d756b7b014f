/**
 * The outcome of a paired difference: the words of the report for an interval and a corrected p-value. The dashboard
 * uses the same rule for runs that still go on.
 */
import type { Estimate } from '../statistics.ts'

/**
 * `better` and `worse` survive Holm's correction for the section. `maybe-better` and `maybe-worse`: the
 * interval excludes zero, but the correction does not confirm it. `open`: the interval contains zero, or there
 * is only one seed. `missing`: there is no pair.
 */
export type Outcome = 'better' | 'worse' | 'maybe-better' | 'maybe-worse' | 'open' | 'missing'

/** The sign of a difference whose interval excludes zero; 0 otherwise. */
export function signOf(estimate: Pick<Estimate, 'interval'> | null): number {
  const { interval } = estimate ?? { interval: null }
  return interval && (interval[0] > 0 || interval[1] < 0) ? Math.sign(interval[0]) : 0
}

/**
 * The outcome of an arm by its difference from the baseline, below zero if the arm is better.
 * @param p p-value after Holm's correction; null without an interval
 */
export function outcomeOf(estimate: Estimate | null, p: number | null): Outcome {
  if (estimate === null) return 'missing'
  const sign = signOf(estimate)
  if (sign === 0) return 'open'
  const sure = p !== null && p < 0.05
  if (sign < 0) return sure ? 'better' : 'maybe-better'
  return sure ? 'worse' : 'maybe-worse'
}
