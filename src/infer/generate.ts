/** Generates text with the newest checkpoint of a run. */
import type { OnMessage } from '../run/messages.ts'
import { continueText, type TextOptions } from './continue-text.ts'
import { tokenScratch } from './generation/token-decoder.ts'
import { loadModel } from './trained-model.ts'

export interface GenerateOptions extends TextOptions {
  readonly device?: 'cpu' | 'webgpu'
  readonly threads?: number
  readonly onMessage?: OnMessage
}

/** Yields the continuation of the prompt in pieces. */
export async function* generate(directory: string, options: GenerateOptions): AsyncGenerator<string, void> {
  // Generation is float32, also of a run that trained in a precision that this device lacks.
  const model = await loadModel(
    directory,
    { ...options, math: 'float32' },
    options.onMessage ?? (() => {}),
    tokenScratch,
  )
  try {
    yield* continueText(model, options)
  } finally {
    await model.close()
  }
}
