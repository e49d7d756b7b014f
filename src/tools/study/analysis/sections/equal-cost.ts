/**
 * Which arm is better at the same cost? Both arms of a pair are read at the cost at which the cheaper one ends,
 * interpolating linearly between two evaluations during training. The cost is training FLOPs, or seconds:
 * steps times the step time measured alone.
 *
 * The more expensive arm is thus read before its learning rate has decayed, which counts against it. A training of that
 * length with a decay of its own would end between the loss that is read and the loss of the whole training. So a verdict
 * needs both: the differences at equal cost and after whole trainings must have the same sign.
 */
import type { Contrast, FinishedRun } from '../../contract.ts'
import { type Estimate, estimateMean, estimateRatio, holm } from '../../statistics.ts'
import type { Pair, Runs } from '../runs.ts'
import { timeRatios } from '../step-times.ts'
import { endAlike, evaluationMismatches } from './cost-to-loss.ts'

type RunPair = Omit<Pair, 'seed'>

export type CostVerdict = 'better' | 'worse' | 'open'

export interface AtCost {
  /** Arm minus baseline at equal cost, by seed, nats a token; for seconds, at the mean ratio of step times. */
  readonly estimate: Estimate
  /**
   * The answer of the intervals at equal cost and after whole trainings, if they agree. For seconds, both ends of the
   * interval of step times must agree too.
   */
  readonly verdict: CostVerdict
  readonly p: number | null
}

/** The comparison at equal training FLOPs; null without comparable evaluations during training. */
export function perFlop(runs: Runs, contrast: Contrast): AtCost | null {
  const estimate = differenceAt(runs, contrast, ({ arm, baseline }) => flopsOfStep(arm) / flopsOfStep(baseline))
  return estimate && { estimate, ...agreed(runs, contrast, [estimate]) }
}

/** The comparison at equal time; null unless both arms were timed. */
export function perSecond(runs: Runs, contrast: Contrast): AtCost | null {
  const ratio = estimateRatio(timeRatios(runs, contrast.baseline, contrast.arm) ?? [])
  if (ratio === null) return null
  const estimate = differenceAt(runs, contrast, () => ratio.mean)
  if (estimate === null) return null
  const ends = (ratio.interval ?? []).flatMap((end) => differenceAt(runs, contrast, () => end) ?? [])
  const { verdict, p } = agreed(runs, contrast, [estimate, ...ends])
  return { estimate, verdict: ratio.interval === null ? 'open' : verdict, p }
}

/** The verdict on which these differences at equal cost agree with the difference after whole trainings. */
function agreed(runs: Runs, contrast: Contrast, atCost: readonly Estimate[]): Pick<AtCost, 'verdict' | 'p'> {
  const lengths = ({ arm, baseline }: RunPair) => lastStep(baseline) / lastStep(arm)
  const whole = differenceAt(runs, contrast, lengths)
  const all = whole === null ? atCost : [...atCost, whole]
  const [verdict = 'open', ...others] = new Set(all.map(verdictOf))
  return {
    verdict: others.length === 0 ? verdict : 'open',
    p: all.some(({ p }) => p === null) ? null : Math.max(...all.map(({ p }) => p ?? 1)),
  }
}

/** The verdicts of a section share one correction by Holm; verdicts that do not survive it are open. */
export function correctedVerdicts(costs: readonly (AtCost | null)[]): (CostVerdict | null)[] {
  const adjusted = holm(costs.map((cost) => cost?.p ?? null))
  return costs.map((cost, i) => cost && ((adjusted[i] ?? 1) < 0.05 ? cost.verdict : 'open'))
}

function verdictOf({ interval }: Estimate): CostVerdict {
  if (interval === null) return 'open'
  if (interval[1] < 0) return 'better'
  return interval[0] > 0 ? 'worse' : 'open'
}

const flopsOfStep = (run: FinishedRun): number => run.trainFlops / run.config.train.steps

/** Arm minus baseline at equal cost. @param ratioOf Cost of a step, arm over baseline. */
function differenceAt(runs: Runs, contrast: Contrast, ratioOf: (pair: RunPair) => number): Estimate | null {
  const differences = runs.pairs(contrast).flatMap((pair) => {
    const ratio = ratioOf(pair)
    if (!(ratio > 0 && ratio < Infinity) || !endAlike(pair) || evaluationMismatches(pair).length > 0) return []
    const { arm, baseline } = pair
    const cost = Math.min(lastStep(baseline), lastStep(arm) * ratio)
    const [above, below] = [lossAt(arm, cost / ratio), lossAt(baseline, cost)]
    return above === null || below === null ? [] : [above - below]
  })
  return estimateMean(differences, runs.intervalsFor([contrast.baseline, contrast.arm]))
}

const lastStep = ({ evaluations }: FinishedRun): number => evaluations.at(-1)?.step ?? Number.NaN

/** The loss at a step by linear interpolation; null before the first evaluation, after the last, or if not finite. */
export function lossAt({ evaluations }: Pick<FinishedRun, 'evaluations'>, step: number): number | null {
  // Rounding may put `step` just beyond the last evaluation.
  const index = evaluations.findIndex((one) => one.step >= step * (1 - 1e-9))
  const [before, after] = [evaluations[index - 1], evaluations[index]]
  if (after === undefined) return null
  let loss = after.step <= step * (1 + 1e-9) ? after.loss : Number.NaN
  if (before) {
    const share = (step - before.step) / (after.step - before.step)
    loss = before.loss + Math.min(1, share) * (after.loss - before.loss)
  }
  return Number.isFinite(loss) ? loss : null
}
