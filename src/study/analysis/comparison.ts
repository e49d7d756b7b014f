/**
 * One contrast, measured: the paired differences of the held-out loss, what the arm costs against its
 * baseline, and how far the interval lets one speak. A difference is arm minus baseline, so a negative
 * one is a better arm.
 */
import type { Contrast } from '../contract.ts'
import { type Estimate, estimateMean, estimateRatio, holm, mean } from '../statistics.ts'
import { joined } from './routing.ts'
import type { Pair, Runs } from './runs.ts'

/**
 * `better` and `worse` survive Holm's correction for the section; `maybe` ones have an interval clear of
 * nought that does not. `open`: the interval holds nought. `same`: equal to the last digit in every seed.
 */
export type Outcome = 'better' | 'worse' | 'maybe-better' | 'maybe-worse' | 'open' | 'same' | 'single' | 'missing'

export interface Comparison extends Contrast {
  readonly pairs: readonly Pair[]
  /** Arm minus baseline by pair, nats a token. */
  readonly differences: readonly number[]
  readonly estimate: Estimate | null
  /** Mean difference over the baseline's mean loss. */
  readonly share: number | null
  /** Training FLOPs and step time, arm over baseline. */
  readonly flops: Estimate | null
  readonly time: Estimate | null
  /** p after Holm's adjustment for all comparisons of the section; null without an interval. */
  readonly adjusted: number | null
  readonly outcome: Outcome
}

/**
 * All comparisons that a section makes: they share one correction. Two arms that are listed twice, in
 * one direction or both, are one comparison, in the direction listed first.
 */
export function compareAll(runs: Runs, contrasts: readonly Contrast[]): Comparison[] {
  const measured = joined([], contrasts).map((contrast) => measure(runs, contrast))
  const tested = measured.flatMap(({ estimate }, index) =>
    estimate?.p === null || estimate?.p === undefined ? [] : [{ index, p: estimate.p }],
  )
  const adjusted = holm(tested.map(({ p }) => p))
  return measured.map((comparison, index) => {
    const p = adjusted[tested.findIndex((test) => test.index === index)] ?? null
    return { ...comparison, adjusted: p, outcome: outcomeOf(comparison, p) }
  })
}

/** The same comparison, told from the other arm. */
export function reversed(comparison: Comparison): Comparison {
  const { baseline, arm, pairs, differences, estimate, flops, time, outcome } = comparison
  const loss = mean(pairs.map((pair) => pair.arm.heldOut.loss))
  return {
    ...comparison,
    baseline: arm,
    arm: baseline,
    pairs: pairs.map((pair) => ({ seed: pair.seed, baseline: pair.arm, arm: pair.baseline })),
    differences: differences.map((difference) => -difference),
    estimate: estimate && mirrored(estimate, (value) => -value),
    share: estimate === null || !loss ? null : -estimate.mean / loss,
    flops: flops && mirrored(flops, (ratio) => 1 / ratio),
    time: time && mirrored(time, (ratio) => 1 / ratio),
    outcome: opposites[outcome] ?? outcome,
  }
}

const opposites: Partial<Record<Outcome, Outcome>> = {
  better: 'worse',
  worse: 'better',
  'maybe-better': 'maybe-worse',
  'maybe-worse': 'maybe-better',
}

/** Under a decreasing map, an interval's ends change places. */
const mirrored = ({ n, mean, interval, p }: Estimate, map: (value: number) => number): Estimate => ({
  n,
  mean: map(mean),
  interval: interval && [map(interval[1]), map(interval[0])],
  p,
})

/** Those that can be tested at all. */
export const tested = (comparisons: readonly Comparison[]): Comparison[] =>
  comparisons.filter(({ estimate }) => estimate?.interval)

function measure(runs: Runs, { baseline, arm }: Contrast): Omit<Comparison, 'adjusted' | 'outcome'> {
  const pairs = runs.pairs({ baseline, arm })
  const differences = pairs.map((pair) => pair.arm.heldOut.loss - pair.baseline.heldOut.loss)
  const estimate = estimateMean(differences)
  const loss = mean(pairs.map((pair) => pair.baseline.heldOut.loss))
  return {
    baseline,
    arm,
    pairs,
    differences,
    estimate,
    share: estimate === null || !loss ? null : estimate.mean / loss,
    flops: estimateRatio(pairs.map((pair) => pair.arm.trainFlops / pair.baseline.trainFlops)),
    time: timeRatio(runs, baseline, arm),
  }
}

/** Arms are timed by turns, so turns are pairs: what slows the machine for a while slows both. */
export function timeRatio(runs: Runs, baseline: string, arm: string): Estimate | null {
  const ratios = timeRatios(runs, baseline, arm)
  return ratios === null ? null : estimateRatio(ratios)
}

/** A ratio a turn, or that of the medians alone where turns are no pairs; null when one was not timed. */
export function timeRatios(runs: Runs, baseline: string, arm: string): readonly number[] | null {
  const [below, above] = [runs.timing(baseline), runs.timing(arm)]
  if (below === null || above === null) return null
  if (below.turnsMs.length === above.turnsMs.length && above.turnsMs.length > 0) {
    const ratios = above.turnsMs.map((ms, turn) => ms / (below.turnsMs[turn] ?? 0))
    if (estimateRatio(ratios) !== null) return ratios
  }
  return [above.stepMs / below.stepMs]
}

/** Whether an interval of a ratio leaves out 1: without one, nothing is known. */
export const clearOfOne = ({ interval }: Estimate): boolean => interval !== null && (interval[0] > 1 || interval[1] < 1)

function outcomeOf({ estimate, differences }: Pick<Comparison, 'estimate' | 'differences'>, p: number | null): Outcome {
  if (estimate === null) return 'missing'
  const { interval, mean } = estimate
  if (interval === null) return 'single'
  if (differences.every((difference) => difference === 0)) return 'same'
  if (interval[0] <= 0 && interval[1] >= 0) return 'open'
  const sure = p !== null && p < 0.05
  if (mean < 0) return sure ? 'better' : 'maybe-better'
  return sure ? 'worse' : 'maybe-worse'
}
