/**
 * The contexts in the caches of decoders, and the prompts that were read into them. The full blocks with which a prompt
 * begins are copied from a context that has read them, and only the rest is read: the copy has the bits that reading
 * them again would have (`prompt-blocks.ts`). Tokens that were decoded one by one have other rounding errors than those
 * of a block, so they are never copied.
 */
import type { CachedContext } from './key-value-cache.ts'
import { commonBlocks } from './prompt-blocks.ts'
import type { TokenDecoder } from './token-decoder.ts'

/** What a context has of a prompt. */
export interface Reused {
  /** Number of tokens whose keys and values the context has. */
  readonly tokens: number
  /** The logits [V] after them, if they are the whole prompt. */
  readonly logits: Float32Array | null
}

/** A prompt that was read in blocks, whose rows a context still has, and the logits after it. */
interface ReadPrompt {
  readonly tokens: readonly number[]
  readonly logits: Float32Array
}

/** A context in the cache of a decoder. */
export class PlacedContext {
  readonly decoder: TokenDecoder
  /** Its index among the contexts of the decoder. */
  readonly place: number
  read: ReadPrompt | null = null
  /** When a text last began in it; 0 if none has. */
  used = 0

  constructor(decoder: TokenDecoder, place: number) {
    this.decoder = decoder
    this.place = place
  }

  get rows(): CachedContext {
    return this.decoder.cache.contexts[this.place] as CachedContext
  }
}

export class CachedContexts {
  readonly all: readonly PlacedContext[]
  private readonly block: number
  private beginnings = 0

  /** @param block Tokens of a block. */
  constructor(decoders: readonly TokenDecoder[], block: number) {
    this.block = block
    this.all = decoders.flatMap((decoder) =>
      decoder.cache.contexts.map((_, place) => new PlacedContext(decoder, place)),
    )
  }

  /**
   * The context, of those that are free, for a text with a prompt: the one that has the most of the prompt, then the one
   * that was not used for the longest time.
   */
  choose(free: readonly number[], prompt: readonly number[]): number {
    const rated = free.map((index) => {
      const { read, used } = this.all[index] as PlacedContext
      return { index, used, common: read ? commonTokens(read, prompt, this.block) : 0 }
    })
    const [best] = rated.sort((a, b) => b.common - a.common || a.used - b.used)
    if (!best) throw new Error('internal: no free context')
    return best.index
  }

  /** A text begins in a context. */
  begin(context: PlacedContext): void {
    this.beginnings++
    context.used = this.beginnings
  }

  /** Copies what another context has of a prompt into a context that has less of it. Returns what the context has then. */
  async reuse(to: PlacedContext, prompt: readonly number[]): Promise<Reused> {
    let from = to
    let tokens = 0
    for (const context of [to, ...this.all]) {
      const common = context.read ? commonTokens(context.read, prompt, this.block) : 0
      if (common > tokens) [from, tokens] = [context, common]
    }
    const { read } = from
    if (from !== to && read) {
      to.read = null
      await to.rows.copy(from.rows, tokens)
    }
    return { tokens, logits: tokens === prompt.length ? (read?.logits ?? null) : null }
  }
}

/**
 * Number of tokens of a prompt that need not be read after another one: all if they are the same, else the full blocks in
 * common without the last token, whose logits are needed.
 */
function commonTokens(read: ReadPrompt, prompt: readonly number[], block: number): number {
  const { tokens } = read
  if (tokens.length === prompt.length && tokens.every((token, i) => token === prompt[i])) return prompt.length
  return commonBlocks(tokens, prompt.slice(0, -1), block)
}
