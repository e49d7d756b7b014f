/**
 * Recomputes the whole context for every token. It is used for models whose parameters change meanwhile, for models
 * with experts in attention, and for routers and layers of a user's own, which decoding with a cache does not support.
 * It is slower, since the work per token grows with the context.
 */
import type { PredeterminedExperts } from './predetermined-experts.ts'
import type { Prefill, PrefillDetails } from './prefill.ts'

/** Replaces both the prefill and the decoder of a model. */
export class ContextDecoder {
  private readonly prefill: Prefill
  private context: number[] = []

  /** @param prefill Prefill without a cache. */
  constructor(prefill: Prefill) {
    this.prefill = prefill
  }

  /** Logits [V] for the token after a new context. */
  run(tokens: readonly number[], predetermined: PredeterminedExperts): Promise<Float32Array> {
    this.context = [...tokens]
    return this.prefill.run(tokens, predetermined)
  }

  /** Logits [V] for the token after `token`, which is at `position`, the end of the context so far. */
  step(token: number, position: number, predetermined: PredeterminedExperts): Promise<Float32Array> {
    return this.run([...this.context.slice(0, position), token], predetermined)
  }

  /** The routers of the last pass, and the row of the token at a position. */
  detailsAt(position: number): Pick<PrefillDetails, 'routers' | 'length'> & { readonly row: number } {
    const { routers, length } = this.prefill.details
    return { routers, length, row: position }
  }

  /** The prefill belongs to the caller, and stays. */
  release(): void {
    this.context = []
  }
}
