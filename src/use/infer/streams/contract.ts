/** Texts that are written at the same time, each for a reader of its own: what is asked for, and what is read. */
import type { TracedRouter } from '../generation/collected-routes.ts'
import type { SamplingOptions } from '../generation/sampling.ts'
import type { TextSchema } from '../json/text-schema.ts'
import type { RatedToken } from './token-probabilities.ts'

export interface TextRequest extends SamplingOptions {
  /** At least one id, at most as many as the context of the model has. */
  readonly prompt: readonly number[]
  /** Maximum number of tokens; with 0 the prompt alone is read, if anything about it is asked for. */
  readonly tokens: number
  readonly seed: number
  /** Stop texts, none of which is empty. */
  readonly stop: readonly string[]
  /** The schema of the text; null: any text. */
  readonly schema: TextSchema | null
  /** Number of most probable tokens that are returned for each token; null: tokens are not rated. */
  readonly top: number | null
  /** Whether the tokens of the prompt are rated too, from the second on. */
  readonly ratesPrompt: boolean
  /** Whether the experts of each token are returned. */
  readonly routes: boolean
}

/** A token that was written. */
export interface WrittenToken extends RatedToken {
  /** Position of its first character in the text. */
  readonly offset: number
}

/** Part of a text. Parts of one text come in order. */
export type TextEvent =
  | {
      readonly kind: 'prompt'
      /** Index of the text in its request. */
      readonly index: number
      /** The tokens of the prompt from the second on. */
      readonly tokens: readonly RatedToken[]
    }
  | {
      readonly kind: 'piece'
      readonly index: number
      /** Some characters. A token whose characters may belong to a stop text comes later. */
      readonly text: string
      /** The tokens that are complete with these characters, if tokens are rated. */
      readonly tokens: readonly WrittenToken[]
    }
  | {
      readonly kind: 'end'
      readonly index: number
      readonly reason: 'end' | 'stop' | 'length'
      /** Number of computed tokens, with an end token and the tokens of a stop text. */
      readonly tokens: number
      /** Number of tokens of the prompt that were not read, because the keys and values of another text were reused. */
      readonly reused: number
      readonly routes: TextRoutes | null
    }

/** The experts of the tokens of a text. */
export interface TextRoutes {
  /** The tokens of the prompt, and the tokens after it without an end token. */
  readonly ids: readonly number[]
  readonly routers: readonly TracedRouter[]
}
