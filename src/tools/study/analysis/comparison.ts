/**
 * The measurements of one contrast: paired differences of the held-out loss with their interval, and the
 * cost of the arm relative to its baseline. A difference is arm minus baseline, so negative is better.
 */
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import type { Contrast } from '../contract.ts'
import { type Estimate, estimateMean, estimateRatio, holm, type Intervals } from '../statistics.ts'
import { type BetweenTexts, betweenTexts } from './between-texts.ts'
import { type Outcome, outcomeOf, signOf } from './outcome.ts'
import type { Pair, Runs } from './runs.ts'
import { type AtCost, type CostVerdict, correctedVerdicts, perFlop, perSecond } from './sections/equal-cost.ts'
import { timeRatio } from './step-times.ts'

export interface Comparison extends Contrast {
  readonly pairs: readonly Pair[]
  /** Arm minus baseline for each pair, nats a token. */
  readonly differences: readonly number[]
  /** Intervals over seeds of all numbers of the comparison. */
  readonly intervals: Intervals
  readonly estimate: Estimate | null
  /** Variation of the difference between texts; null without losses by document. */
  readonly texts: BetweenTexts | null
  /** The difference at the other learning rate, common or best; null without a sweep. */
  readonly otherRate: Estimate | null
  /** Ratios, arm over baseline: training FLOPs and step time. */
  readonly flops: Estimate | null
  readonly time: Estimate | null
  /** Verdicts on the arm at equal training FLOPs, and in equal time; null if not measured. */
  readonly perFlop: CostVerdict | null
  readonly perSecond: CostVerdict | null
  /** p-value after Holm's correction for all comparisons of the section; null without an interval. */
  readonly pAdjusted: number | null
  readonly outcome: Outcome
  /** Whether the sign of the difference changes with the evaluation capacity, or with the learning rate. */
  readonly dependsOnCapacity: boolean
  readonly dependsOnRate: boolean
  /** Whether the interval excludes zero over seeds, but not between texts. */
  readonly dependsOnText: boolean
}

/** All comparisons of a section; they share one correction. */
export function compareAll(runs: Runs, contrasts: readonly Contrast[]): Comparison[] {
  const measured = contrasts.map((contrast) => measure(runs, contrast))
  const corrected = holm(measured.map(({ estimate }) => estimate?.p ?? null))
  const flops = correctedVerdicts(measured.map((one) => one.costs.flop))
  const seconds = correctedVerdicts(measured.map((one) => one.costs.second))
  return measured.map(({ costs: _, ...one }, i) => {
    const pAdjusted = corrected[i] ?? null
    return {
      ...one,
      pAdjusted,
      outcome: outcomeOf(one.estimate, pAdjusted),
      perFlop: flops[i] ?? null,
      perSecond: seconds[i] ?? null,
    }
  })
}

type Uncorrected = Omit<Comparison, 'pAdjusted' | 'outcome' | 'perFlop' | 'perSecond'> & {
  readonly costs: { readonly flop: AtCost | null; readonly second: AtCost | null }
}

const capacityRules: readonly CapacityRule[] = ['train', 'eval', 'none']

function measure(runs: Runs, contrast: Contrast): Uncorrected {
  const pairs = runs.pairs(contrast)
  const differences = runs.differences(contrast)
  const arms = [contrast.baseline, contrast.arm]
  const estimateOn = (on: Runs) => estimateMean(on.differences(contrast), on.intervalsFor(arms))
  const estimate = estimateOn(runs)
  const intervals = runs.intervalsFor(arms)
  const texts = betweenTexts(runs, pairs, intervals)
  const tuned = runs.results.tuning.length > 0
  const otherRate = tuned ? estimateOn(runs.withBasis({ rate: runs.basis.rate === 'best' ? 'common' : 'best' })) : null
  const byRule = capacityRules.map((capacity) => signOf(estimateOn(runs.withBasis({ capacity }))))
  return {
    ...contrast,
    pairs,
    differences,
    intervals,
    estimate,
    texts,
    otherRate,
    flops: estimateRatio(
      pairs.map((pair) => pair.arm.trainFlops / pair.baseline.trainFlops),
      intervals,
    ),
    time: timeRatio(runs, contrast.baseline, contrast.arm),
    dependsOnCapacity: byRule.includes(1) && byRule.includes(-1),
    dependsOnRate: signOf(estimate) * signOf(otherRate) < 0,
    dependsOnText: signOf(estimate) !== 0 && (texts?.interval ?? null) !== null && signOf(texts) !== signOf(estimate),
    costs: { flop: perFlop(runs, contrast), second: perSecond(runs, contrast) },
  }
}
