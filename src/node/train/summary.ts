/** The summary of a training, for its caller. */
import type { RunConfig } from '../../core/config/run-config.ts'
import type { TrainSummary } from '../../train/loop/events.ts'
import type { TrainingLoop } from '../../train/loop/training-loop.ts'
import type { CeilingReport } from '../../train/measure/mfu.ts'
import { newestCheckpoint } from '../run/checkpoint/checkpoint.ts'
import { checkpointsOf } from '../run/run-directory.ts'
import type { TrainOptions } from './options.ts'

/** Summary of a training that has made steps. @param seconds Time of all steps, with evaluations and checkpoints. */
export function summaryOf(
  directory: string,
  loop: TrainingLoop<unknown>,
  seconds: number,
  ceiling: CeilingReport,
): TrainSummary {
  const { report, steps: step } = loop
  const { last, evaluation, gates } = report
  const tokens = report.tokens(step)
  const ranks = loop.ranks()
  return {
    directory,
    interrupted: !loop.isComplete,
    step,
    tokens,
    seconds,
    ...report.speed(),
    ceiling,
    last,
    evaluation,
    gates,
    ranks,
  }
}

/** Summary of a training that was interrupted before its first step: the run is unchanged. */
export async function interruptedAtStart(
  { train, model }: RunConfig,
  { directory, resume }: TrainOptions,
): Promise<TrainSummary> {
  const step = (resume && (await newestCheckpoint(checkpointsOf(directory), () => {}, { depth: 'sizes' }))?.step) || 0
  const tokens = step * train.batch * model.sequence
  const nothing = {
    seconds: 0,
    tokensPerSecond: null,
    mfu: null,
    ceiling: null,
    last: null,
    evaluation: null,
    gates: [],
    ranks: null,
  }
  return { directory, interrupted: true, step, tokens, ...nothing }
}
