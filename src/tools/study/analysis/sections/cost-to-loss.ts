/**
 * The cost at which two arms reach the same loss. For each seed the goal is the higher of the two last losses of the
 * evaluations during training, so both arms reach it. The cost is read where a curve first comes to the goal or below,
 * interpolating linearly between two evaluations.
 *
 * A learning rate that decays until the end makes low losses come late by design, so these ratios are closer
 * to 1 than the real gain of an arm.
 */
import type { Contrast, FinishedRun } from '../../contract.ts'
import { mean } from '../../statistics.ts'
import type { Pair, Runs } from '../runs.ts'
import { timeRatios } from '../step-times.ts'

/** The costs that are compared. */
export type Measure = 'steps' | 'flops' | 'seconds'

/** The costs of one seed. */
export interface SeedCost {
  readonly seed: number
  readonly goal: number
  /** Steps of the baseline and of the arm to the goal. */
  readonly baseline: number
  readonly arm: number
  /**
   * FLOPs and seconds of a step, arm over baseline. Seconds were measured while other runs ran, and are NaN if the two
   * runs were trained on different machines.
   */
  readonly flops: number
  readonly seconds: number
}

export interface CostToLoss {
  readonly contrast: Contrast
  /** Settings in which the evaluations of a pair during training differ; these are then not on the same text. */
  readonly mismatches: readonly string[]
  readonly bySeed: readonly SeedCost[]
  /** Step times measured alone, arm over baseline, one ratio per turn; null unless both were timed. */
  readonly turns: readonly number[] | null
}

export function costToLoss(runs: Runs, contrast: Contrast): CostToLoss {
  const pairs = runs.pairs(contrast)
  const unlike = [...new Set(pairs.flatMap(evaluationMismatches))]
  return {
    contrast,
    mismatches: unlike,
    bySeed: unlike.length > 0 ? [] : pairs.flatMap((pair) => seedCost(pair) ?? []),
    turns: timeRatios(runs, contrast.baseline, contrast.arm),
  }
}

/** Cost of the arm over the cost of the baseline, by seed; the error of step times over turns is not included. */
export function ratiosOf({ bySeed, turns }: CostToLoss, measure: Measure): number[] {
  const stepTime = turns === null ? null : Math.exp(mean(turns.map(Math.log)) ?? 0)
  return bySeed
    .map(({ baseline, arm, flops, seconds }) => {
      const step = measure === 'steps' ? 1 : measure === 'flops' ? flops : (stepTime ?? seconds)
      return (arm / baseline) * step
    })
    .filter((ratio) => ratio > 0 && ratio < Infinity)
}

/** A run evaluates on the first `evalBatches` held-out batches, and takes a step on a batch of the same size. */
export function evaluationMismatches({ baseline: { config: a }, arm: { config: b } }: Pair): string[] {
  const fields = [
    ['train.evalBatches', a.train.evalBatches, b.train.evalBatches],
    ['train.batch', a.train.batch, b.train.batch],
    ['model.sequence', a.model.sequence, b.model.sequence],
  ] as const
  return fields.flatMap(([path, below, above]) => (below === above ? [] : [`${path} ${above} against ${below}`]))
}

/**
 * Whether the curves of both runs end at the same share of their trainings. That is the end of both; records of Choir 0.1
 * that were made before the evaluation after the last step was kept end earlier, and are compared with each other.
 */
export function endAlike({ baseline, arm }: Omit<Pair, 'seed'>): boolean {
  const shareOf = ({ evaluations, config }: FinishedRun) =>
    (evaluations.at(-1)?.step ?? Number.NaN) / config.train.steps
  return shareOf(baseline) === shareOf(arm)
}

/** The costs of a pair; null if its runs have no evaluations that end at the same share of training. */
function seedCost(pair: Pair): SeedCost | null {
  if (!endAlike(pair)) return null
  const { seed, baseline, arm } = pair
  const goal = Math.max(...[baseline, arm].map(({ evaluations }) => evaluations.at(-1)?.loss ?? Number.NaN))
  const [below, above] = [stepAt(baseline, goal), stepAt(arm, goal)]
  if (!Number.isFinite(goal) || below === null || above === null) return null
  const ratio = (cost: (run: FinishedRun) => number) => cost(arm) / cost(baseline)
  return {
    seed,
    goal,
    baseline: below,
    arm: above,
    flops: ratio((run) => run.trainFlops / run.config.train.steps),
    seconds: arm.machine === baseline.machine ? ratio((run) => run.seconds / run.config.train.steps) : Number.NaN,
  }
}

/** First step with a loss of at most `goal`, interpolated; an upper bound if the first evaluation reaches it. */
function stepAt({ evaluations }: FinishedRun, goal: number): number | null {
  const index = evaluations.findIndex(({ loss }) => loss <= goal)
  const [before, after] = [evaluations[index - 1], evaluations[index]]
  if (after === undefined) return null
  if (before === undefined || !Number.isFinite(before.loss)) return after.step
  return before.step + ((before.loss - goal) / (before.loss - after.loss)) * (after.step - before.step)
}
