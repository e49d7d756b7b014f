/**
 * Generating text with a trained model, one token after the other.
 *
 * The prompt goes through the model at once (`Prefill`), every token after it alone (`TokenDecoder`, or
 * `Decoder` on ONNX Runtime alone). What
 * later tokens need of earlier ones, keys and values, is kept in a cache. A model with experts in attention
 * reads the whole context for every token instead (`ContextDecoder`). Experts have no capacity limit
 * here: a token's text must not depend on what else is in the batch. Nor may it wait to be chosen by experts,
 * which see later tokens: of a model of the `expert-choice` router every token takes its top k.
 */
import type { ModelConfig } from '../../model/config.ts'
import type { Runtime } from '../../runtime/contract.ts'
import { generationConfig } from '../../step/capacity-rules.ts'
import { randomFor } from '../../step/random.ts'
import type { ParameterStore } from '../../step/store.ts'
import { KeyValueCache } from './key-value-cache.ts'
import { ContextDecoder } from './context-decoder.ts'
import { Decoder } from './decoder.ts'
import { GivenExperts } from './given-experts.ts'
import { Prefill } from './prefill.ts'
import { type SamplingOptions, sample } from './sampling.ts'
import { TokenDecoder } from './token-decoder.ts'

/** A prompt of so few tokens is read one by one: that takes less than to compile a program for it. */
const MAX_STEPWISE_PROMPT = 16

/** Writes one text at a time. */
export class Generator {
  private readonly config: ModelConfig
  private readonly prefill: Prefill | ContextDecoder
  private readonly decoder: Decoder | TokenDecoder | ContextDecoder
  /** A prompt of at most so many tokens is read one by one. */
  private readonly maxStepwise: number
  private writing = false

  constructor(runtime: Runtime, given: ModelConfig, store: ParameterStore) {
    const config = generationConfig(given)
    this.config = config
    if (config.moe && config.moe.attention !== 'none') {
      this.prefill = this.decoder = new ContextDecoder(new Prefill(runtime, config, store, null))
      this.maxStepwise = 0
      return
    }
    this.maxStepwise = MAX_STEPWISE_PROMPT
    const memory = TokenDecoder.borrow(runtime, config, store)
    const cache = new KeyValueCache(config, memory?.take)
    this.prefill = new Prefill(runtime, config, store, cache)
    this.decoder = memory
      ? new TokenDecoder(runtime, config, store, cache, memory)
      : new Decoder(runtime, config, store, cache)
  }

  /**
   * Tokens that follow `prompt` (at least one id), without end. Of a prompt longer than the model's
   * `sequence`, the end is read. When the context has reached `sequence` tokens, its older half is
   * forgotten and the newer half read again, at positions from 0: a token is predicted from at least
   * ⌊sequence / 2⌋ and at most `sequence` tokens before it, as in training.
   * @param vocabulary Ids that may be drawn: 0 to vocabulary − 1.
   */
  async *tokens(
    prompt: readonly number[],
    vocabulary: number,
    options: SamplingOptions,
    seed: number,
  ): AsyncGenerator<number, never> {
    if (this.writing) throw new Error('internal: a generator writes one text at a time')
    this.writing = true
    try {
      const random = randomFor(seed, 'generate')
      const { sequence } = this.config
      const experts = new GivenExperts(this.config, seed)
      let context = prompt.slice(-sequence)
      experts.offset = prompt.length - context.length
      let logits = await this.begin(context, experts)
      for (;;) {
        const next = sample(logits, vocabulary, options, random)
        yield next
        if (context.length < sequence) {
          logits = await this.decoder.step(next, context.length, experts)
          context.push(next)
        } else {
          context = [...context, next].slice(-Math.max(1, Math.floor(sequence / 2)))
          experts.offset += sequence + 1 - context.length
          logits = await this.prefill.run(context, experts)
        }
      }
    } finally {
      this.writing = false
    }
  }

  /** Logits after the prompt. */
  private async begin(context: readonly number[], experts: GivenExperts): Promise<Float32Array> {
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
