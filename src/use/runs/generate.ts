/** Generates text with a model, a checkpoint of a run or a model of another library: it continues a text, or answers a chat. */
import type { OnMessage } from '../../train/run/messages.ts'
import { continueText, type TextEnd, type TextOptions } from '../infer/continue-text.ts'
import { tokenScratch } from '../infer/generation/token-memory.ts'
import type { ChatMessage } from './chat/contract.ts'
import { renderChat } from './chat/render.ts'
import { loadModel, type ModelChoice, type TrainedModel } from './trained-model.ts'

/** A text, which is continued, or the messages of a chat, which the model answers. */
export type Prompt = string | readonly ChatMessage[]

type WritingOptions = Omit<TextOptions, 'prompt' | 'isWhole'>

export interface GenerateOptions extends WritingOptions, Omit<ModelChoice, 'math'> {
  readonly prompt: Prompt
  readonly onMessage?: OnMessage
}

export interface GeneratedEnd extends TextEnd {
  /** Step of the checkpoint. */
  readonly step: number
}

/**
 * Yields the continuation of the prompt, or the answer, in pieces, and returns how it ended. If the signal is aborted
 * while the model is loaded, its reason is thrown.
 * @throws UsageError if the prompt is a chat, and the model has no chat template or its template refuses the messages
 */
export async function* generate(directory: string, options: GenerateOptions): AsyncGenerator<string, GeneratedEnd> {
  // Generation computes in float32, also for a run that trained in a precision that this device lacks.
  const model = await loadModel(
    directory,
    { ...options, math: 'float32' },
    options.onMessage ?? (() => {}),
    tokenScratch,
  )
  try {
    return { ...(yield* write(model, options.prompt, options)), step: model.step }
  } finally {
    await model.close()
  }
}

/** Generates as {@link generate} does, with a model that is loaded already. */
export async function* write(
  model: TrainedModel,
  prompt: Prompt,
  options: WritingOptions,
): AsyncGenerator<string, TextEnd> {
  if (typeof prompt === 'string') return yield* continueText(model, { ...options, prompt })
  const { signal } = options
  let text: string
  try {
    text = await renderChat(model.tokenizer.rules, prompt, model.directory, { signal })
  } catch (error) {
    if (signal?.aborted) return { reason: 'interrupted', tokens: 0, seconds: 0 }
    throw error
  }
  return yield* continueText(model, { ...options, prompt: text, isWhole: true })
}
