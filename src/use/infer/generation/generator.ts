/**
 * Generates text with a trained model, one token at a time.
 *
 * It is a single text (`TextState`) in a single context (`Contexts`). Experts have no capacity limit here, so text does
 * not depend on the rest of a batch. With the `expert-choice` router every token takes its top k, because choosing by
 * experts would need later tokens.
 */
import type { ModelConfig } from '../../../core/model/config.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import type { ModelStore } from '../../../train/step/store/model-store.ts'
import type { SchemaText } from '../json/text-schema.ts'
import { Contexts } from './contexts.ts'
import type { SamplingOptions } from './sampling.ts'
import { TextState } from './text-state.ts'

/** Generates one text at a time. */
export class Generator {
  private readonly contexts: Contexts
  private writing = false

  /**
   * @param isChanging Whether parameters may change between two tokens: then nothing that depends on them is kept, and
   * the whole context is recomputed for every token.
   * @throws UsageError if a router or a layer of the user's own uses later tokens
   */
  constructor(runtime: Runtime, trainedConfig: ModelConfig, store: ModelStore, isChanging = false) {
    this.contexts = new Contexts(runtime, trainedConfig, store, { count: 1, isChanging })
  }

  /**
   * Yields an endless sequence of tokens that continues `prompt` (at least one id). Only the last `sequence` tokens of
   * a longer prompt are read ({@link TextState}).
   * @param vocabulary Sampled ids are 0 to vocabulary − 1.
   * @param kept Number of tokens, 0 or 1, at the beginning of the prompt that stay at the beginning of every context.
   * @param schemaText The text as it is written by a schema.
   */
  async *tokens(
    prompt: readonly number[],
    vocabulary: number,
    options: SamplingOptions,
    seed: number,
    kept: 0 | 1 = 0,
    schemaText: SchemaText | null = null,
  ): AsyncGenerator<number, never> {
    if (this.writing) throw new Error('internal: a generator handles one text at a time')
    this.writing = true
    try {
      const text = new TextState(this.contexts.config, {
        prompt,
        vocabulary,
        sampling: options,
        seed,
        kept,
        schemaText,
      })
      for (;;) yield text.next(await this.contexts.compute(0, text))
    } finally {
      this.writing = false
    }
  }

  release(): void {
    this.contexts.release()
  }
}
