/** Runs a training to its last step, with the evaluations and checkpoints of its configuration. */

import { nextTurn } from '../../core/next-turn.ts'
import type { RunMessage } from '../../train/run/messages.ts'
import type { EvalRecord } from '../../train/step/records.ts'
import type { RunStore } from './storage/run-store.ts'
import type { StepRecords, WebTraining } from './web-training.ts'

export type TrainingEvent =
  | RunMessage
  | ({ readonly kind: 'step' } & StepRecords)
  | { readonly kind: 'evaluation'; readonly record: EvalRecord }
  /** The run is in the store. */
  | { readonly kind: 'checkpoint'; readonly step: number }

export interface RunTrainingOptions {
  readonly onEvent?: (event: TrainingEvent) => void
  /** Where to save the run every `train.checkpointEvery` steps and at the end. Default: nowhere. */
  readonly store?: RunStore | null
  /** On abort the step under way is finished and the run is saved. */
  readonly signal?: AbortSignal
}

/**
 * Resolves after the last step, or when the signal is aborted.
 * @throws RunError if the loss stays non-finite or the run cannot be saved; RuntimeError if the device fails
 */
export async function runTraining(
  training: WebTraining,
  { onEvent = () => {}, store = null, signal }: RunTrainingOptions = {},
): Promise<void> {
  const { evalEvery, checkpointEvery } = training.config.train
  let saved = training.steps
  const save = async () => {
    if (!store) return
    await training.checkpoint(store)
    saved = training.steps
    onEvent({ kind: 'checkpoint', step: saved })
  }
  while (!training.isFinished && !signal?.aborted) {
    onEvent({ kind: 'step', ...(await training.step()) })
    const { steps, isFinished } = training
    if (isFinished || steps % evalEvery === 0) onEvent({ kind: 'evaluation', record: await training.evaluate() })
    if (isFinished || steps % checkpointEvery === 0) await save()
    // A message that pauses the training waits in the event loop.
    await nextTurn()
  }
  if (training.steps > saved) await save()
}
