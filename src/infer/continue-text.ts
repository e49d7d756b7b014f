/** Text that a model writes. */
import { Generator } from './generation/generator.ts'
import type { SamplingOptions } from './generation/sampling.ts'
import type { LiveModel } from './live-model.ts'

export interface TextOptions extends SamplingOptions {
  readonly prompt: string
  /** Maximum number of tokens; the text stops earlier at the end of a document. */
  readonly tokens: number
  readonly seed: number
  readonly signal?: AbortSignal
}

/**
 * Yields the continuation of the prompt in pieces. It is fastest with a model that has `tokenScratch`.
 * @param isChanging Whether parameters may change between two pieces.
 */
export async function* continueText(
  { runtime, config, tokenizer, store }: Omit<LiveModel, 'step'>,
  options: TextOptions,
  isChanging = false,
): AsyncGenerator<string, void> {
  const generator = new Generator(runtime, config.model, store, isChanging)
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
