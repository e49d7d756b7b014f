/**
 * Training in a run directory, from top to bottom:
 *
 *   configuration · run directory · runtime and memory · text · program · parameters · loop · summary
 *
 * Everything that later steps depend on is in the checkpoint or follows from the configuration and the
 * step number, so a run killed at any instant can continue bit for bit. The step itself, evaluations and the rule about
 * steps that are not finite are the same as for a training in a page: src/train/loop/training-loop.ts.
 */
import type { RunConfig } from '../../core/config/run-config.ts'
import type { TrainSummary } from '../../train/loop/events.ts'
import { openText } from './open-data.ts'
import type { TrainOptions } from './options.ts'
import { beginAtStep, checkedTraining, openMemory, openRun, prepareProgram } from './prepare.ts'
import { interruptedAtStart, runLoop } from './run-loop.ts'
import { Abandoned } from './training.ts'

/**
 * Trains a model in a run directory.
 * @throws UsageError if the data or the directory is unusable
 * @throws RunError if the disk is full, another process trains here, or the loss stays non-finite
 */
export async function train(given: RunConfig, options: TrainOptions): Promise<TrainSummary> {
  const { signal } = options
  const training = await checkedTraining(given, options)
  try {
    const run = await openRun(training)
    const memory = await openMemory(training)
    const text = await openText(training, run.tokenizer)
    if (!text) return await interruptedAtStart(training)
    const prepared = await prepareProgram(training, run, memory, text)
    const beginning = await beginAtStep(training, run, memory, text, prepared)
    return await runLoop(training, memory, text, prepared, beginning)
  } catch (error) {
    if (error instanceof Abandoned || (signal?.aborted && error === signal.reason))
      return await interruptedAtStart(training)
    training.files?.discard()
    throw error
  } finally {
    await training.cleanup.run()
  }
}
