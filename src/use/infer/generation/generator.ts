/**
 * Generates text with a trained model, one token at a time.
 *
 * The prompt is processed in one pass (`Prefill`), each later token alone (`TokenDecoder`), with the keys and values of
 * earlier tokens in a cache. A model with experts in attention, with a router or a layer of the user's own, in training,
 * or without memory for the cache recomputes the whole context for every token instead (`ContextDecoder`). Experts have no capacity limit here, so text does not depend on the rest of a batch. With the
 * `expert-choice` router every token takes its top k, because choosing by experts would need later tokens.
 */
import { UsageError } from '../../../core/errors.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { ownLayers } from '../../../core/model/own-layer.ts'
import { routerOf } from '../../../core/model/routing/routers.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { generationConfig } from '../../../train/step/capacity-rules.ts'
import type { ModelStore } from '../../../train/step/model-store.ts'
import { randomFor } from '../../../train/step/random.ts'
import { ContextDecoder } from './context-decoder.ts'
import { KeyValueCache } from './key-value-cache.ts'
import { PredeterminedExperts } from './predetermined-experts.ts'
import { Prefill } from './prefill.ts'
import { type SamplingOptions, sample } from './sampling.ts'
import { TokenDecoder } from './token-decoder.ts'

/** A prompt of at most this many tokens is read token by token, which is faster than compiling a program for it. */
const MAX_STEPWISE_PROMPT = 16

const seesLater = (part: string, id: string | null) =>
  new UsageError(`invalid model: its ${part} ${id} uses later tokens (sees: "batch"), so it cannot write text`)

/** Generates one text at a time. */
export class Generator {
  private readonly config: ModelConfig
  private readonly prefill: Prefill | ContextDecoder
  private readonly decoder: TokenDecoder | ContextDecoder
  /** Maximum length of a prompt that is read token by token. */
  private readonly maxStepwise: number
  private writing = false

  /**
   * @param isChanging Whether parameters may change between two tokens: then nothing that depends on them is kept, and
   * the whole context is recomputed for every token.
   * @throws UsageError if a router or a layer of the user's own uses later tokens
   */
  constructor(runtime: Runtime, trainedConfig: ModelConfig, store: ModelStore, isChanging = false) {
    const config = generationConfig(trainedConfig)
    this.config = config
    const { moe, layer } = config
    if (moe?.router === 'own' && routerOf(moe).sees === 'batch') throw seesLater('router', moe.own)
    if (layer && ownLayers.get(layer.own).sees === 'batch') throw seesLater('layer', layer.own)
    const memory = isChanging ? null : TokenDecoder.borrow(runtime, config, store)
    if (!memory) {
      this.prefill = this.decoder = new ContextDecoder(new Prefill(runtime, config, store, null))
      this.maxStepwise = 0
      return
    }
    this.maxStepwise = MAX_STEPWISE_PROMPT
    const cache = new KeyValueCache(config, (floats) => memory.take(floats))
    this.prefill = new Prefill(runtime, config, store, cache)
    this.decoder = new TokenDecoder(runtime, config, store, cache, memory)
  }

  /**
   * Yields an endless sequence of tokens that continues `prompt` (at least one id). Only the last `sequence`
   * tokens of a longer prompt are read. When the context is full, its older half is dropped and the newer
   * half is read again, at positions from 0. So, as in training, a token is predicted from at most
   * `sequence` tokens before it, and from at least ⌊sequence / 2⌋ if there are that many.
   * @param vocabulary Sampled ids are 0 to vocabulary − 1.
   * @param kept Number of tokens, 0 or 1, at the beginning of the prompt that stay at the beginning of every context.
   */
  async *tokens(
    prompt: readonly number[],
    vocabulary: number,
    options: SamplingOptions,
    seed: number,
    kept: 0 | 1 = 0,
  ): AsyncGenerator<number, never> {
    if (this.writing) throw new Error('internal: a generator handles one text at a time')
    this.writing = true
    try {
      const random = randomFor(seed, 'generate')
      const { sequence } = this.config
      const experts = new PredeterminedExperts(this.config, seed)
      let context = newest(prompt, sequence, kept)
      experts.offset = prompt.length - context.length
      let logits = await this.begin(context, experts)
      for (;;) {
        const next = sample(logits, vocabulary, options, random)
        yield next
        if (context.length < sequence) {
          logits = await this.decoder.step(next, context.length, experts)
          context.push(next)
        } else {
          context = newest([...context, next], Math.max(1, Math.floor(sequence / 2)), kept)
          experts.offset += sequence + 1 - context.length
          logits = await this.prefill.run(context, experts)
        }
      }
    } finally {
      this.writing = false
    }
  }

  /** Logits after the prompt. */
  private async begin(context: readonly number[], experts: PredeterminedExperts): Promise<Float32Array> {
    if (context.length > this.maxStepwise) return this.prefill.run(context, experts)
    let logits: Float32Array = new Float32Array()
    for (const [position, token] of context.entries()) logits = await this.decoder.step(token, position, experts)
    return logits
  }

  release(): void {
    this.prefill.release()
    this.decoder.release()
  }
}

/** At most `count` tokens, at least 1: the last ones, with the first `kept` before them if there is room for more. */
function newest(tokens: readonly number[], count: number, kept: 0 | 1): number[] {
  const first = tokens.length > count && count > kept ? kept : 0
  return [...tokens.slice(0, first), ...tokens.slice(-(count - first))]
}
