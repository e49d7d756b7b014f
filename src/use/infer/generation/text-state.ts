/**
 * One text that is generated: the tokens that the model has read, the tokens that it must read next, and the random
 * numbers that choose among its predictions. It computes nothing itself, so it does not matter what else is computed
 * between two of its tokens.
 */
import type { ModelConfig } from '../../../core/model/config.ts'
import { type Random, randomFor } from '../../../core/random.ts'
import type { SchemaText } from '../json/text-schema.ts'
import { PredeterminedExperts } from './predetermined-experts.ts'
import { type SamplingOptions, sample } from './sampling.ts'

export interface TextStart {
  /** At least one id. Only the last `sequence` tokens of a longer prompt are read. */
  readonly prompt: readonly number[]
  /** Sampled ids are 0 to vocabulary − 1. */
  readonly vocabulary: number
  readonly sampling: SamplingOptions
  readonly seed: number
  /** Number of tokens at the beginning of the prompt that stay at the beginning of every context. */
  readonly kept: 0 | 1
  /** The text as it is written by a schema; null: any token may come. */
  readonly schemaText: SchemaText | null
  /** Number of tokens that are written at most; default: any. */
  readonly most?: number
}

/** What must be computed for the next token: a whole context, or one more token, at its position in the context. */
export type Pending =
  | { readonly kind: 'context'; readonly tokens: readonly number[]; readonly isFirst: boolean }
  | { readonly kind: 'token'; readonly token: number; readonly position: number }

export class TextState {
  readonly experts: PredeterminedExperts
  private readonly config: ModelConfig
  private readonly start: TextStart
  private readonly random: Random
  private context: number[]
  private isFirst = true
  private written = 0
  /** Whether the whole context must be read, and not only its last token. */
  private isUnread = true

  /** @param config Configuration of the model for generation. */
  constructor(config: ModelConfig, start: TextStart) {
    const { prompt, seed, kept } = start
    this.config = config
    this.start = start
    this.random = randomFor(seed, 'generate')
    this.context = newest(prompt, config.sequence, kept)
    this.experts = new PredeterminedExperts(config, seed)
    this.experts.offset = prompt.length - this.context.length
  }

  /** Positions that the text may have in its context, before the context is read again. */
  get positions(): number {
    const { most = Number.POSITIVE_INFINITY } = this.start
    return Math.min(this.config.sequence, this.context.length + Math.max(0, most - this.written))
  }

  get pending(): Pending {
    const { context, isFirst } = this
    if (this.isUnread) return { kind: 'context', tokens: context, isFirst }
    const position = context.length - 1
    return { kind: 'token', token: context[position] as number, position }
  }

  /**
   * Samples the next token from the logits of {@link pending}, and adds it to the text. When the context is full, its
   * older half is dropped and the newer half is read again, at positions from 0. So, as in training, a token is
   * predicted from at most `sequence` tokens before it, and from at least ⌊sequence / 2⌋ if there are that many.
   */
  next(logits: Float32Array): number {
    const { kept } = this.start
    const { sequence } = this.config
    const next = this.sample(logits)
    this.isFirst = false
    this.written++
    this.isUnread = this.context.length >= sequence
    if (this.isUnread) {
      this.context = newest([...this.context, next], Math.max(1, Math.floor(sequence / 2)), kept)
      this.experts.offset += sequence + 1 - this.context.length
    } else this.context.push(next)
    return next
  }

  /** Samples a token, of those that a schema allows if there is one. */
  private sample(logits: Float32Array): number {
    const { sampling, vocabulary, schemaText } = this.start
    if (!schemaText) return sample(logits, vocabulary, sampling, this.random)
    const ids = schemaText.allowed()
    const among = Float32Array.from(ids, (id) => logits[id] as number)
    const token = ids[sample(among, ids.length, sampling, this.random)] as number
    schemaText.add(token)
    return token
  }
}

/** At most `count` tokens, at least 1: the last ones, with the first `kept` before them if there is room for more. */
function newest(tokens: readonly number[], count: number, kept: 0 | 1): number[] {
  const first = tokens.length > count && count > kept ? kept : 0
  return [...tokens.slice(0, first), ...tokens.slice(-(count - first))]
}
