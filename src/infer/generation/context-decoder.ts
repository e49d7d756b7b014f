/**
 * Reads the whole context again for every token, where attention has experts: decoding with a cache has no
 * routing inside attention. Slower, since the work of a token grows with the context.
 */
import type { GivenExperts } from './given-experts.ts'
import type { Prefill } from './prefill.ts'

/** In place of both the prefill and the decoder of a model. */
export class ContextDecoder {
  private readonly prefill: Prefill
  private context: number[] = []

  /** @param prefill Without a cache. */
  constructor(prefill: Prefill) {
    this.prefill = prefill
  }

  /** Logits [V] of the token after a new context. */
  run(tokens: readonly number[], given: GivenExperts): Promise<Float32Array> {
    this.context = [...tokens]
    return this.prefill.run(tokens, given)
  }

  /** Logits [V] of the token after `token`, which stands at `position` behind the context so far. */
  step(token: number, position: number, given: GivenExperts): Promise<Float32Array> {
    return this.run([...this.context.slice(0, position), token], given)
  }

  release(): void {
    this.prefill.release()
  }
}
