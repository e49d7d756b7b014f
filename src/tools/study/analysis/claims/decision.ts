/**
 * The rule that decides claims. A claim puts a number into a region of the number line; the study has an
 * interval for that number.
 *
 * - The interval lies wholly inside the region: the claim **holds**.
 * - It lies wholly outside: the claim **does not hold**.
 * - It crosses an edge: the claim is **undecided**.
 *
 * The p-value of a decision tests the distance between the estimate and the nearest edge. It is below 0.05
 * exactly if the 95 % interval decides, so Holm's correction applies to decisions of every kind.
 */
import { type Interval, student } from '../../statistics.ts'

export type Answer = 'holds' | 'does not hold' | 'undecided'

/** A region of the number line; its ends may be infinite. */
export interface Region {
  readonly low: number
  readonly high: number
}

/** A measured number, on the scale on which its error follows Student's t. */
export interface Effect {
  /** Number of seeds; of arms for a correlation. */
  readonly n: number
  readonly mean: number
  /** Standard error; null for a single value. */
  readonly error: number | null
  readonly freedom: number
}

/** @param side -1: below zero by at least the margin; 1: above zero by at least that; 0: within the margin of zero */
export function regionOf(side: -1 | 0 | 1, margin: number): Region {
  if (side === 0) return { low: -margin, high: margin }
  return side < 0 ? { low: -Infinity, high: -margin } : { low: margin, high: Infinity }
}

/** The 95 % interval of an effect; null without an error. */
export const intervalOf = ({ mean, error, freedom }: Effect): Interval | null => student(mean, error, freedom).interval

export function decide(interval: Interval | null, { low, high }: Region): Answer {
  if (interval === null) return 'undecided'
  if (interval[0] > low && interval[1] < high) return 'holds'
  return interval[1] < low || interval[0] > high ? 'does not hold' : 'undecided'
}

/** Two-sided p-value of the estimate against the nearest edge of the region; null without an error. */
export function pValueOf({ mean, error, freedom }: Effect, { low, high }: Region): number | null {
  const distance = Math.min(Math.abs(mean - low), Math.abs(mean - high))
  return student(distance, error, freedom).p
}

/**
 * The answer to a claim about several contrasts. With `all`, one contrast that does not hold refutes the claim.
 * With `most`, it holds if more than half hold, and is refuted if half or more do not.
 */
export function combineAnswers(answers: readonly Answer[], of: 'all' | 'most'): Answer {
  const count = (answer: Answer) => answers.filter((other) => other === answer).length
  const [holding, failing] = [count('holds'), count('does not hold')]
  if (answers.length === 0) return 'undecided'
  if (of === 'all' ? failing > 0 : 2 * failing >= answers.length) return 'does not hold'
  return (of === 'all' ? holding === answers.length : 2 * holding > answers.length) ? 'holds' : 'undecided'
}
