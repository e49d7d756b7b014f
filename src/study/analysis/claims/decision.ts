/**
 * When a claim holds. A claim puts a number into a region of the number line, and the study has an interval
 * for that number. There is one rule:
 *
 * - the interval lies wholly within the region: the claim **holds**;
 * - it lies wholly outside: the claim **does not hold**;
 * - it reaches over an edge: it **cannot be said here**.
 *
 * The p of a decision is that of the distance between the estimate and the nearest edge: below 0.05 exactly
 * where the 95 % interval decides. So Holm's correction applies to decisions of every kind alike.
 */
import { type Interval, student } from '../../statistics.ts'

export type Answer = 'holds' | 'does not hold' | 'cannot be said here'

/** An end may be infinite. */
export interface Region {
  readonly low: number
  readonly high: number
}

/** A measured number on the scale on which its error is Student's. */
export interface Effect {
  /** Seeds, or arms of a correlation. */
  readonly n: number
  readonly mean: number
  /** Standard error; null when there is one value alone. */
  readonly error: number | null
  readonly freedom: number
}

/** @param side -1: below zero, by at least the margin; 1: above; 0: within the margin of zero */
export function regionOf(side: -1 | 0 | 1, margin: number): Region {
  if (side === 0) return { low: -margin, high: margin }
  return side < 0 ? { low: -Infinity, high: -margin } : { low: margin, high: Infinity }
}

/** 95 %; null without an error. */
export const intervalOf = ({ mean, error, freedom }: Effect): Interval | null => student(mean, error, freedom).interval

export function decide(interval: Interval | null, { low, high }: Region): Answer {
  if (interval === null) return 'cannot be said here'
  if (interval[0] > low && interval[1] < high) return 'holds'
  return interval[1] < low || interval[0] > high ? 'does not hold' : 'cannot be said here'
}

/** Two-sided p of the nearest edge of the region; null without an error. */
export function chanceOf({ mean, error, freedom }: Effect, { low, high }: Region): number | null {
  const distance = Math.min(Math.abs(mean - low), Math.abs(mean - high))
  return student(distance, error, freedom).p
}

/**
 * The answer to a claim about several contrasts. All: one that does not hold refutes it. Most: more than half
 * must hold, and half that do not refute it.
 */
export function together(answers: readonly Answer[], of: 'all' | 'most'): Answer {
  const count = (answer: Answer) => answers.filter((other) => other === answer).length
  const [holding, failing] = [count('holds'), count('does not hold')]
  if (answers.length === 0) return 'cannot be said here'
  if (of === 'all' ? failing > 0 : 2 * failing >= answers.length) return 'does not hold'
  return (of === 'all' ? holding === answers.length : 2 * holding > answers.length) ? 'holds' : 'cannot be said here'
}
