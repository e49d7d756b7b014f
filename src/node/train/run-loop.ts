/** Runs the loop of a training to its end: evaluations, checkpoints, the profile of a step, and the summary. */
import { engineOf } from '../../engine/contract/engine.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { TrainSummary } from '../../train/loop/events.ts'
import { runToEnd } from '../../train/loop/run-to-end.ts'
import { TrainingLoop } from '../../train/loop/training-loop.ts'
import type { CeilingReport } from '../../train/measure/mfu.ts'
import { PROFILE_WARM_UP } from '../../train/measure/step-profile.ts'
import { fromFirst } from '../../train/run/agreement.ts'
import { decayStart } from '../../train/step/optimizer/schedule.ts'
import type { Trainer } from '../../train/step/trainer.ts'
import { newestCheckpoint } from '../run/checkpoint/checkpoint.ts'
import { checkpointsOf } from '../run/run-directory.ts'
import { saveBatch } from './non-finite.ts'
import type { TrainingText } from './open-data.ts'
import type { Beginning, Memory, Prepared } from './prepare.ts'
import { Abandoned, type Training } from './training.ts'

/** Trains to the last step, or until the training is stopped, and returns the summary. */
export async function runLoop(
  training: Training,
  { runtime }: Memory,
  { data }: TrainingText,
  { program, bandwidth, ceiling, compressing }: Prepared,
  { saved, step: fromStep, origin, copied }: Beginning,
): Promise<TrainSummary> {
  const { config, files, ranks, emit, abandoning } = training
  const { directory, signal } = training.options
  const loop = new TrainingLoop(program, ceiling, fromStep, {
    log: files?.logs ?? null,
    emit,
    keepBatch: (skipped) => saveBatch(directory, skipped, ranks),
    save: (step, { keep, spared }) => saved.save(step, keep, spared),
  })
  training.cleanup.defer(() => loop.release())
  const { parameters, activeParameters } = loop.report.model
  emit({
    kind: 'start',
    directory,
    steps: config.train.steps,
    fromStep,
    parameters,
    activeParameters,
    trainTokens: data.train.length,
    heldOutTokens: data.heldOut.length,
    ...(compressing && { gzipBitsPerByte: await compressing }),
    peakFlops: ceiling.report().peakFlops,
    ...(origin && { from: origin }),
    ...engineOf(runtime),
  })
  const profiling = bandwidth === null ? null : new Profiling(program.trainer, bandwidth, fromStep, config.train.steps)
  const save = async () => emit({ kind: 'checkpoint', step: loop.steps, path: await loop.checkpoint() })
  const started = performance.now()
  // Once the copied weights are saved, the other run is not needed any more.
  if (copied) await save()
  const { state } = program
  const wasDue = state.evaluationDue
  if (wasDue) {
    state.evaluationDue = !(await fromFirst(ranks, () => files?.logs.hasEvaluation(fromStep)))
    if (state.evaluationDue) {
      await training.unlessAborted(loop.compileEvaluation())
      await loop.evaluate(signal)
    }
  }
  if (!loop.isFinished && !abandoning?.aborted) await training.unlessAborted(loop.testSight())
  await runToEnd(
    config,
    {
      done: () => loop.steps,
      isStopped: () => loop.isStopped(signal),
      step: async () => {
        profiling?.beforeStep(loop.steps + 1)
        await loop.step()
        // Evaluation is compiled after the first step, which would otherwise wait for it, but no later, because a
        // model that cannot be evaluated should fail soon.
        if (abandoning?.aborted) return
        await training.unlessAborted(loop.compileEvaluation()).catch((error) => {
          if (!(error instanceof Abandoned)) throw error
        })
      },
      evaluate: async () => {
        await loop.evaluate(signal)
        if (!ranks && !signal?.aborted) await ceiling.measureIfCheap()
      },
      checkpoint: save,
    },
    // Longer and shorter runs can continue from this step, bit for bit.
    decayStart(config.train),
  )
  // The last checkpoint may still say that an evaluation is due, although it has been made since.
  if (wasDue && !state.evaluationDue && loop.steps === fromStep) await save()
  const seconds = (performance.now() - started) / 1000
  // The machine may have been busy at the start. An interrupted run ends without delay.
  if (loop.isComplete) await ceiling.measure()
  const { last, evaluation, gates } = loop.report
  return {
    directory,
    interrupted: !loop.isComplete,
    step: loop.steps,
    tokens: loop.report.tokens(loop.steps),
    seconds,
    ...loop.report.speed(),
    ceiling: ceiling.report(),
    last,
    evaluation,
    gates,
    ranks: loop.ranks(),
    ...profiling?.results(runtime, ceiling.report()),
  }
}

/** Summary of a training that was interrupted before its first step: the run is unchanged. */
export async function interruptedAtStart({ config, options }: Training): Promise<TrainSummary> {
  const { directory, resume } = options
  const step = (resume && (await newestCheckpoint(checkpointsOf(directory), () => {}, { depth: 'sizes' }))?.step) || 0
  return {
    directory,
    interrupted: true,
    step,
    tokens: step * config.train.batch * config.model.sequence,
    seconds: 0,
    tokensPerSecond: null,
    mfu: null,
    ceiling: null,
    last: null,
    evaluation: null,
    gates: [],
    ranks: null,
  }
}

/** Records the steps after the warm-up. */
class Profiling {
  private readonly trainer: Trainer
  /** Memory bandwidth, bytes per second. */
  private readonly bandwidth: number
  private readonly first: number

  /** @param done Number of steps that were done before. @param steps Number of the last step. */
  constructor(trainer: Trainer, bandwidth: number, done: number, steps: number) {
    this.trainer = trainer
    this.bandwidth = bandwidth
    this.first = done + Math.min(PROFILE_WARM_UP, Math.floor((steps - done) / 2)) + 1
  }

  beforeStep(step: number): void {
    if (step === this.first) this.trainer.resetProfile()
  }

  /** Ends the recording and returns its results. */
  results(runtime: Runtime, { peakFlops }: CeilingReport): Pick<TrainSummary, 'profile' | 'trace'> {
    const { trainer, bandwidth } = this
    return {
      profile: { ...trainer.profile(), ...engineOf(runtime), peakFlops, bandwidth },
      trace: trainer.lastStep(),
    }
  }
}
