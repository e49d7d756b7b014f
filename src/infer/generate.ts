/** Generates text with a trained model. */
import type { OnMessage } from '../run/messages.ts'
import { Generator } from './generation/generator.ts'
import type { SamplingOptions } from './generation/sampling.ts'
import { tokenScratch } from './generation/token-decoder.ts'
import { loadModel, type TrainedModel } from './trained-model.ts'

export interface GenerateOptions extends SamplingOptions {
  readonly prompt: string
  /** Maximum number of tokens; the text stops earlier at the end of a document. */
  readonly tokens: number
  readonly seed: number
  readonly device?: 'cpu' | 'webgpu'
  readonly threads?: number
  readonly signal?: AbortSignal
  readonly onMessage?: OnMessage
}

/** Yields the continuation of the prompt in pieces. */
export async function* generate(directory: string, options: GenerateOptions): AsyncGenerator<string, void> {
  const model = await loadModel(directory, options, options.onMessage ?? (() => {}), tokenScratch)
  try {
    yield* continueText(model, options)
  } finally {
    await model.close()
  }
}

/** The same with a model that is loaded with {@link tokenScratch}. */
export async function* continueText(
  { runtime, config, tokenizer, store }: TrainedModel,
  options: GenerateOptions,
): AsyncGenerator<string, void> {
  const generator = new Generator(runtime, config.model, store)
  // In training, documents follow an end-of-text token, so generation begins with one too.
  const prompt = [tokenizer.endOfText, ...(await tokenizer.encode(options.prompt))]
  const text = tokenizer.stream()
  let count = 0
  try {
    for await (const token of generator.tokens(prompt, tokenizer.vocabulary, options, options.seed)) {
      if (token === tokenizer.endOfText || options.signal?.aborted) break
      const piece = text.push(token)
      if (piece) yield piece
      if (++count >= options.tokens) break
    }
    const rest = text.end()
    if (rest) yield rest
  } finally {
    generator.release()
  }
}
