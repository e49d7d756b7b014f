/** Generates text with a checkpoint of a run. */
import type { OnMessage } from '../../train/run/messages.ts'
import { continueText, type TextEnd, type TextOptions } from '../infer/continue-text.ts'
import { tokenScratch } from '../infer/generation/token-decoder.ts'
import { loadModel, type ModelChoice } from './trained-model.ts'

export interface GenerateOptions extends TextOptions, Omit<ModelChoice, 'math'> {
  readonly onMessage?: OnMessage
}

export interface GeneratedEnd extends TextEnd {
  /** Step of the checkpoint. */
  readonly step: number
}

/** Yields the continuation of the prompt in pieces, and returns how it ended. */
export async function* generate(directory: string, options: GenerateOptions): AsyncGenerator<string, GeneratedEnd> {
  // Generation computes in float32, also for a run that trained in a precision that this device lacks.
  const model = await loadModel(
    directory,
    { ...options, math: 'float32' },
    options.onMessage ?? (() => {}),
    tokenScratch,
  )
  try {
    return { ...(yield* continueText(model, options)), step: model.step }
  } finally {
    await model.close()
  }
}
