/** Runs a training to its last step, with the evaluations and checkpoints of its configuration. */

import { isFields } from '../../core/config/fields.ts'
import { abortSignal, callback, checkOptions } from '../../core/config/options.ts'
import { nextTurn } from '../../core/next-turn.ts'
import { runToEnd } from '../../train/loop/run-to-end.ts'
import type { RunMessage } from '../../train/run/messages.ts'
import type { EvalRecord } from '../../train/step/metrics/records.ts'
import type { RunStore } from './storage/run-store.ts'
import type { StepRecords, WebTraining } from './web-training.ts'

export type TrainingEvent =
  | RunMessage
  | ({ readonly kind: 'step' } & StepRecords)
  | { readonly kind: 'evaluation'; readonly record: EvalRecord }
  /** The run was saved in the store. */
  | { readonly kind: 'checkpoint'; readonly step: number }

export interface RunTrainingOptions {
  readonly onEvent?: (event: TrainingEvent) => void
  /** Store in which the run is saved every `train.checkpointEvery` steps and at the end. Default: it is not saved. */
  readonly store?: RunStore | null
  /** On abort the step under way is finished and the run is saved. */
  readonly signal?: AbortSignal
  /** Called before each step with its number. The step begins when the promise is resolved. */
  readonly beforeStep?: (step: number) => Promise<void>
}

const storeOrNull = { accepts: (value: unknown) => value === null || isFields(value), expected: 'a store, or null' }

/**
 * Trains. Resolves after the last step, or when the signal is aborted.
 * @throws UsageError if an option is wrong; RunError if the loss stays non-finite or the run cannot be saved; RuntimeError if the device fails
 */
export async function runTraining(training: WebTraining, options: RunTrainingOptions = {}): Promise<void> {
  const known = { onEvent: callback, store: storeOrNull, signal: abortSignal, beforeStep: callback }
  checkOptions('options of runTraining', options, {}, known)
  const { onEvent = () => {}, store = null, signal, beforeStep } = options
  await runToEnd(training.config, {
    done: () => training.steps,
    // The message that aborts the signal may be waiting in the event loop.
    isStopped: async () => {
      await nextTurn()
      if (beforeStep && !training.isFinished) await beforeStep(training.steps + 1)
      return signal?.aborted === true
    },
    step: async () => onEvent({ kind: 'step', ...(await training.step()) }),
    evaluate: async () => onEvent({ kind: 'evaluation', record: await training.evaluate() }),
    checkpoint: async () => {
      if (!store) return
      await training.checkpoint(store)
      onEvent({ kind: 'checkpoint', step: training.steps })
    },
  })
}
