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
 *
 * **A claim about several contrasts** (`difference` and `speed`) has one contrast whose effect, interval, drawing and
 * p-value stand for it: the contrast that decides the answer. Its contrasts are ranked from the best for the claim to
 * the worst: those that hold, those that are undecided, those that do not hold; an answer that Holm's correction takes
 * back is nearer to undecided. Contrasts with the same answer are ranked
 *
 * - if they hold, by how far their intervals stay inside the region: the worst comes nearest to an edge;
 * - if they are undecided, by how far their estimates are inside the region, or outside;
 * - if they do not hold, by how far their intervals stay outside: the worst is the clearest refutation.
 *
 * With `all`, the worst contrast decides. With `most`, it is the contrast on which the majority turns: of three the
 * second, of four or five the third. The answer of the deciding contrast is always the answer to the claim. All other
 * kinds (`trend`, `returns`, `correlation`) have a single number, which decides.
 */
import { ascending } from 'd3-array'
import { type Interval, inference, type MeanWithError, type WithIntervals } from '../../statistics.ts'

export type Answer = 'holds' | 'does not hold' | 'undecided'

/** A region of the number line; its ends may be infinite. */
export interface Region {
  readonly low: number
  readonly high: number
}

/**
 * A measured number, on the scale on which its error follows Student's t, and the intervals that it gets. It has n seeds,
 * or n arms if it is a correlation.
 */
export type Effect = MeanWithError & WithIntervals

/** @param side -1: below zero by at least the margin; 1: above zero by at least that; 0: within the margin of zero */
export function regionOf(side: -1 | 0 | 1, margin: number): Region {
  if (side === 0) return { low: -margin, high: margin }
  return side < 0 ? { low: -Infinity, high: -margin } : { low: margin, high: Infinity }
}

/** The 95 % interval of an effect; null without an error. */
export const intervalOf = ({ mean, error, freedom, intervals }: Effect): Interval | null =>
  inference(mean, error, freedom, intervals).interval

export function decide(interval: Interval | null, { low, high }: Region): Answer {
  if (interval === null) return 'undecided'
  if (interval[0] > low && interval[1] < high) return 'holds'
  return interval[1] < low || interval[0] > high ? 'does not hold' : 'undecided'
}

/** Two-sided p-value of the estimate against the nearest edge of the region; null without an error. */
export function pValueOf({ mean, error, freedom, intervals }: Effect, { low, high }: Region): number | null {
  const distance = Math.min(Math.abs(mean - low), Math.abs(mean - high))
  return inference(distance, error, freedom, intervals).p
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

/** A contrast of a claim with its answers after Holm's correction and before it. */
export interface Judged {
  readonly effect: Effect | null
  readonly answer: Answer
  readonly uncorrected: Answer
}

/** The contrast that decides a claim, by the rule above; the first of equals, and null if there is none. */
export function decidingOf<One extends Judged>(
  contrasts: readonly One[],
  region: Region,
  of: 'all' | 'most',
): One | null {
  const placed = contrasts.map((one) => ({ one, place: placeOf(one, region) }))
  const ranked = placed.toSorted(
    (a, b) => ascending(a.place.answer, b.place.answer) || ascending(a.place.depth, b.place.depth),
  )
  // The best contrasts come last. The last one that the claim needs decides.
  const needed = of === 'all' ? ranked.length : Math.floor(ranked.length / 2) + 1
  return ranked[ranked.length - needed]?.one ?? null
}

const rankOf: Readonly<Record<Answer, number>> = { 'does not hold': -1, undecided: 0, holds: 1 }

/** How good a contrast is for the claim: by its answer, then by its distance from the edges of the region. */
function placeOf({ effect, answer, uncorrected }: Judged, region: Region): { answer: number; depth: number } {
  const inside = (value: number) => Math.min(value - region.low, region.high - value)
  const ends = (effect && intervalOf(effect))?.map(inside)
  // A contrast without runs leaves the claim undecided only if no measured contrast does.
  const middle = effect === null ? Infinity : inside(effect.mean)
  const depth =
    ends === undefined || uncorrected === 'undecided'
      ? middle
      : uncorrected === 'holds'
        ? Math.min(...ends)
        : Math.max(...ends)
  return { answer: rankOf[uncorrected] + rankOf[answer], depth }
}
