/** Continues a text with a model. */
import { UsageError } from '../../core/errors.ts'
import { plural } from '../../core/text/numbers.ts'
import { Generator } from './generation/generator.ts'
import type { SamplingOptions } from './generation/sampling.ts'
import type { JsonSchema } from './json/schema.ts'
import { TextSchema } from './json/text-schema.ts'
import type { LiveModel } from './live-model.ts'
import { WrittenText } from './written-text.ts'

export interface TextOptions extends SamplingOptions {
  readonly prompt: string
  /** Whether the prompt is all that the model reads, so that no begin token is put before it: a rendered chat. */
  readonly isWhole?: boolean
  /** Maximum number of tokens; the text stops earlier at an end token of the model. */
  readonly tokens: number
  readonly seed: number
  /** Stop texts, none of which is empty: the text ends before the first of them. */
  readonly stop?: readonly string[]
  /** A JSON Schema: the text is a value that is valid by it, unless it ends early. */
  readonly schema?: JsonSchema
  readonly signal?: AbortSignal
}

/** How a text ended. */
export interface TextEnd {
  /**
   * `end`: the model ended the text with one of its end tokens, or the value of a schema is complete; `stop`: one of the
   * stop texts came; `length`: the text has as many tokens as were asked for; `interrupted`: the signal was aborted.
   */
  readonly reason: 'end' | 'stop' | 'length' | 'interrupted'
  /** Number of computed tokens, with the tokens of a stop text and without the end token. */
  readonly tokens: number
  /** Duration in seconds, from before the first token of the prompt. */
  readonly seconds: number
}

/**
 * Yields the continuation of the prompt in pieces, and returns how it ended. It is fastest with a model that has
 * `tokenScratch`.
 * @param isChanging Whether parameters may change between two pieces.
 * @throws UsageError if the schema is wrong or not supported
 */
export async function* continueText(
  { runtime, config, tokenizer, store }: Omit<LiveModel, 'step'>,
  options: TextOptions,
  isChanging = false,
): AsyncGenerator<string, TextEnd> {
  if (options.signal?.aborted) return { reason: 'interrupted', tokens: 0, seconds: 0 }
  const began = performance.now()
  const { schema, seed } = options
  const schemaText = schema === undefined ? null : new TextSchema(schema, 'schema', tokenizer).begin()
  const prompt = await promptTokens(tokenizer, options, config.model.sequence)
  const generator = new Generator(runtime, config.model, store, isChanging)
  const text = new WrittenText(tokenizer, options.tokens, options.stop, schemaText)
  let reason: TextEnd['reason'] | null = null
  try {
    const kept = keptOf(tokenizer, prompt)
    for await (const token of generator.tokens(prompt, tokenizer.vocabulary, options, seed, kept, schemaText)) {
      if (options.signal?.aborted && !text.ends(token)) {
        reason = 'interrupted'
        break
      }
      const piece = text.add(token)
      if (piece) yield piece
      reason = text.reason
      if (reason !== null) break
      // The reader may have aborted the signal while it had the piece: then no other token is computed.
      if (options.signal?.aborted) {
        reason = 'interrupted'
        break
      }
    }
    const rest = text.rest()
    if (rest) yield rest
    if (text.reason === 'stop') reason = 'stop'
    return { reason: reason ?? 'length', tokens: text.tokens, seconds: (performance.now() - began) / 1000 }
  } finally {
    generator.release()
  }
}

/**
 * Tokens of a prompt, at least one: a text without any token is a new document, which follows the separator.
 * @throws UsageError if a chat is longer than the context
 */
export async function promptTokens(
  { encode, rules, endOfText }: LiveModel['tokenizer'],
  { prompt, isWhole = false }: Pick<TextOptions, 'prompt' | 'isWhole'>,
  sequence: number,
): Promise<number[]> {
  const ids = [...(await encode(prompt))]
  if (isWhole && ids.length > sequence)
    throw new UsageError(
      `the chat has ${plural(ids.length, 'token')}, and the context of the model has ${sequence}: its beginning would be lost ` +
        '(send fewer or shorter messages, or import the model with a longer sequence)',
    )
  if (rules.begin !== null && !isWhole) ids.unshift(rules.begin)
  return ids.length > 0 ? ids : [endOfText]
}

/**
 * Number of tokens at the beginning of a prompt that stay at the beginning of every context. A model of Choir has
 * learned windows that begin anywhere; another model's begin token is in every text that it has seen.
 */
export const keptOf = ({ rules, endOfText }: LiveModel['tokenizer'], prompt: readonly number[]): 0 | 1 =>
  rules.begin !== null && rules.begin !== endOfText && prompt[0] === rules.begin ? 1 : 0
