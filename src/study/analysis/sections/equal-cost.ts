/**
 * Which arm is better for the same money? Both arms of a pair are read at the cost at which the cheaper of
 * the two ends, on the straight line between two evaluations while training. Cost is counted in training
 * FLOPs, or in seconds: steps times the step time, alone on the machine.
 *
 * The dearer arm is so read before its learning rate has decayed, which counts against it: "better" is
 * therefore safe to read, "worse" is an upper bound of how much worse.
 */
import type { Contrast, FinishedRun } from '../../contract.ts'
import { type Estimate, estimateMean, estimateRatio, holm } from '../../statistics.ts'
import type { Runs } from '../runs.ts'
import { timeRatios } from '../step-times.ts'
import { unlikeEvaluations } from './race.ts'

export type Word = 'better' | 'worse' | 'open'

export interface AtCost {
  /** Arm minus baseline at equal cost, by seed, nats a token; of seconds at the mean ratio of step times. */
  readonly estimate: Estimate
  /** By the interval, and for seconds by those at both ends of the interval of the step times. */
  readonly word: Word
  readonly p: number | null
}

/** Null: no evaluations while training that can be compared. */
export function perFlop(runs: Runs, contrast: Contrast): AtCost | null {
  const estimate = differenceAt(runs, contrast, ({ arm, baseline }) => flopsOfStep(arm) / flopsOfStep(baseline))
  return estimate && { estimate, word: wordOf(estimate), p: estimate.p }
}

/** Null where the two were not both timed. */
export function perSecond(runs: Runs, contrast: Contrast): AtCost | null {
  const ratio = estimateRatio(timeRatios(runs, contrast.baseline, contrast.arm) ?? [])
  if (ratio === null) return null
  const estimate = differenceAt(runs, contrast, () => ratio.mean)
  if (estimate === null) return null
  const ends = (ratio.interval ?? []).flatMap((end) => differenceAt(runs, contrast, () => end) ?? [])
  const all = [estimate, ...ends]
  const words = new Set(all.map(wordOf))
  return {
    estimate,
    word: ratio.interval !== null && words.size === 1 ? wordOf(estimate) : 'open',
    p: all.some(({ p }) => p === null) ? null : Math.max(...all.map(({ p }) => p ?? 1)),
  }
}

/** Verdicts of a section share one correction by Holm: what it does not leave is open. */
export function correctedWords(verdicts: readonly (AtCost | null)[]): (Word | null)[] {
  const adjusted = holm(verdicts.flatMap((verdict) => verdict?.p ?? []))
  return verdicts.map((verdict) => {
    if (verdict === null) return null
    return verdict.p !== null && (adjusted.shift() ?? 1) < 0.05 ? verdict.word : 'open'
  })
}

function wordOf({ interval }: Estimate): Word {
  if (interval === null) return 'open'
  if (interval[1] < 0) return 'better'
  return interval[0] > 0 ? 'worse' : 'open'
}

const flopsOfStep = (run: FinishedRun): number => run.trainFlops / run.config.train.steps

/** @param ratioOf cost of a step, arm over baseline */
function differenceAt(
  runs: Runs,
  contrast: Contrast,
  ratioOf: (pair: { readonly arm: FinishedRun; readonly baseline: FinishedRun }) => number,
): Estimate | null {
  const differences = runs.pairs(contrast).flatMap((pair) => {
    const ratio = ratioOf(pair)
    if (!(ratio > 0 && ratio < Infinity) || unlikeEvaluations(pair).length > 0) return []
    const { arm, baseline } = pair
    const cost = Math.min(lastStep(baseline), lastStep(arm) * ratio)
    const [above, below] = [lossAt(arm, cost / ratio), lossAt(baseline, cost)]
    return above === null || below === null ? [] : [above - below]
  })
  return estimateMean(differences)
}

const lastStep = ({ evaluations }: FinishedRun): number => evaluations.at(-1)?.step ?? Number.NaN

/** Null before the first evaluation, after the last, and where a loss is not finite. */
export function lossAt({ evaluations }: Pick<FinishedRun, 'evaluations'>, step: number): number | null {
  // Rounding may put the end of a curve just beyond it.
  const index = evaluations.findIndex((one) => one.step >= step * (1 - 1e-9))
  const [before, after] = [evaluations[index - 1], evaluations[index]]
  if (after === undefined) return null
  const share = before === undefined ? null : (step - before.step) / (after.step - before.step)
  const loss =
    before === undefined || share === null
      ? after.step <= step * (1 + 1e-9)
        ? after.loss
        : Number.NaN
      : before.loss + Math.min(1, share) * (after.loss - before.loss)
  return Number.isFinite(loss) ? loss : null
}
