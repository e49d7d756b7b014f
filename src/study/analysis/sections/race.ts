/**
 * How soon do two arms reach the same loss? Per seed the goal is the higher of the two final evaluation
 * losses, which both reach: the baseline's, if the arm ends below it. Each is read at the first time it is at
 * or below the goal, on the straight line between two evaluations. So an arm that ends above its baseline
 * has a number too, and no seed is left out.
 *
 * With a learning rate that decays to the end, low losses are reached late by design, so these ratios are
 * nearer to 1 than what an arm gains.
 */
import type { Contrast, FinishedRun } from '../../contract.ts'
import { mean } from '../../statistics.ts'
import type { Pair, Runs } from '../runs.ts'
import { timeRatios } from '../step-times.ts'

/** The costs until a loss that can be compared. */
export type Measure = 'steps' | 'flops' | 'seconds'

/** One seed. */
export interface Reach {
  readonly seed: number
  readonly goal: number
  /** Steps until the goal. */
  readonly baseline: number
  readonly arm: number
  /** FLOPs of a step, arm over baseline; and of the seconds of a step while other runs ran. */
  readonly flops: number
  readonly seconds: number
}

export interface Race {
  readonly contrast: Contrast
  /** Settings of the evaluations while training in which a pair differs: its losses are of different text. */
  readonly unlike: readonly string[]
  readonly reaches: readonly Reach[]
  /** Step times, arm over baseline, alone on the machine, by turns; null: not both were timed. */
  readonly turns: readonly number[] | null
}

export function raceOf(runs: Runs, contrast: Contrast): Race {
  const pairs = runs.pairs(contrast)
  const unlike = [...new Set(pairs.flatMap(unlikeEvaluations))]
  return {
    contrast,
    unlike,
    reaches: unlike.length > 0 ? [] : pairs.flatMap((pair) => reachOf(pair) ?? []),
    turns: timeRatios(runs, contrast.baseline, contrast.arm),
  }
}

/** Cost of the arm over that of the baseline, a number a seed, without what step times over turns leave open. */
export function ratiosOf({ reaches, turns }: Race, measure: Measure): number[] {
  const alone = turns === null ? null : Math.exp(mean(turns.map(Math.log)) ?? 0)
  return reaches
    .map(({ baseline, arm, flops, seconds }) => {
      const step = measure === 'steps' ? 1 : measure === 'flops' ? flops : (alone ?? seconds)
      return (arm / baseline) * step
    })
    .filter((ratio) => ratio > 0 && ratio < Infinity)
}

/** Held-out batches of a run are the first `evalBatches` of its size; a step, too, is a batch of that size. */
export function unlikeEvaluations({ baseline: { config: a }, arm: { config: b } }: Pair): string[] {
  const fields = [
    ['train.evalBatches', a.train.evalBatches, b.train.evalBatches],
    ['train.batch', a.train.batch, b.train.batch],
    ['model.sequence', a.model.sequence, b.model.sequence],
  ] as const
  return fields.flatMap(([path, below, above]) => (below === above ? [] : [`${path} ${above} against ${below}`]))
}

/** Null when one of the two has no evaluation. */
function reachOf({ seed, baseline, arm }: Pair): Reach | null {
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
    seconds: ratio((run) => run.seconds / run.config.train.steps),
  }
}

/** First step with a loss of at most `goal`; at the first evaluation, its step, which is then too late. */
function stepAt({ evaluations }: FinishedRun, goal: number): number | null {
  const index = evaluations.findIndex(({ loss }) => loss <= goal)
  const [before, after] = [evaluations[index - 1], evaluations[index]]
  if (after === undefined) return null
  if (before === undefined || !Number.isFinite(before.loss)) return after.step
  return before.step + ((before.loss - goal) / (before.loss - after.loss)) * (after.step - before.step)
}
