/**
 * One contrast, measured: the paired differences of the held-out loss, the cost of the arm against its
 * baseline, and how far the interval reaches. A difference is arm minus baseline, so a negative
 * one is a better arm.
 */
import type { CapacityRule } from '../../model/routing/contract.ts'
import type { Contrast } from '../contract.ts'
import { type Estimate, estimateMean, estimateRatio, holm } from '../statistics.ts'
import type { Pair, Runs } from './runs.ts'
import { type AtCost, correctedWords, perFlop, perSecond, type Word } from './sections/equal-cost.ts'
import { timeRatio } from './step-times.ts'

/**
 * `better` and `worse` survive Holm's correction for the section; `maybe` ones have an interval clear of
 * zero that does not. `open`: the interval holds zero, or there is one seed. `missing`: no pair.
 */
export type Outcome = 'better' | 'worse' | 'maybe-better' | 'maybe-worse' | 'open' | 'missing'

export interface Comparison extends Contrast {
  readonly pairs: readonly Pair[]
  /** Arm minus baseline by pair, nats a token. */
  readonly differences: readonly number[]
  readonly estimate: Estimate | null
  /** The same at the other learning rate; null where there was no sweep. */
  readonly otherRate: Estimate | null
  /** Training FLOPs and step time, arm over baseline. */
  readonly flops: Estimate | null
  readonly time: Estimate | null
  /** Which is better at equal training FLOPs, and in equal time; null where it was not measured. */
  readonly perFlop: Word | null
  readonly perSecond: Word | null
  /** p after Holm's adjustment for all comparisons of the section; null without an interval. */
  readonly adjusted: number | null
  readonly outcome: Outcome
  /** The sign of the difference changes with the capacity of evaluation, or with the learning rate. */
  readonly turnsWithCapacity: boolean
  readonly turnsWithRate: boolean
}

/** All comparisons that a section makes: they share one correction. */
export function compareAll(runs: Runs, contrasts: readonly Contrast[]): Comparison[] {
  const measured = contrasts.map((contrast) => measure(runs, contrast))
  const adjusted = holm(measured.flatMap(({ estimate }) => estimate?.p ?? []))
  const flops = correctedWords(measured.map((one) => one.costs.flop))
  const seconds = correctedWords(measured.map((one) => one.costs.second))
  return measured.map(({ costs: _, ...one }, i) => {
    const p = typeof one.estimate?.p === 'number' ? (adjusted.shift() ?? null) : null
    return {
      ...one,
      adjusted: p,
      outcome: outcomeOf(one.estimate, p),
      perFlop: flops[i] ?? null,
      perSecond: seconds[i] ?? null,
    }
  })
}

type Uncorrected = Omit<Comparison, 'adjusted' | 'outcome' | 'perFlop' | 'perSecond'> & {
  readonly costs: { readonly flop: AtCost | null; readonly second: AtCost | null }
}

const rules: readonly CapacityRule[] = ['train', 'eval', 'none']

function measure(runs: Runs, contrast: Contrast): Uncorrected {
  const pairs = runs.pairs(contrast)
  const differences = differencesOf(runs, contrast)
  const estimate = estimateMean(differences)
  const tuned = runs.results.tuning.length > 0
  const otherRate = tuned
    ? estimateMean(differencesOf(runs.on({ rate: runs.basis.rate === 'best' ? 'common' : 'best' }), contrast))
    : null
  const byRule = rules.map((capacity) => signOf(estimateMean(differencesOf(runs.on({ capacity }), contrast))))
  return {
    ...contrast,
    pairs,
    differences,
    estimate,
    otherRate,
    flops: estimateRatio(pairs.map((pair) => pair.arm.trainFlops / pair.baseline.trainFlops)),
    time: timeRatio(runs, contrast.baseline, contrast.arm),
    turnsWithCapacity: byRule.includes(1) && byRule.includes(-1),
    turnsWithRate: signOf(estimate) * signOf(otherRate) < 0,
    costs: { flop: perFlop(runs, contrast), second: perSecond(runs, contrast) },
  }
}

const differencesOf = (runs: Runs, contrast: Contrast): number[] =>
  runs.pairs(contrast).map(({ arm, baseline }) => runs.lossOf(arm) - runs.lossOf(baseline))

/** Of a difference whose interval is clear of zero; 0 otherwise. */
function signOf(estimate: Estimate | null): number {
  const { interval } = estimate ?? { interval: null }
  return interval && (interval[0] > 0 || interval[1] < 0) ? Math.sign(interval[0]) : 0
}

function outcomeOf(estimate: Estimate | null, p: number | null): Outcome {
  if (estimate === null) return 'missing'
  const sign = signOf(estimate)
  if (sign === 0) return 'open'
  const sure = p !== null && p < 0.05
  if (sign < 0) return sure ? 'better' : 'maybe-better'
  return sure ? 'worse' : 'maybe-worse'
}
