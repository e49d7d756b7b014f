/**
 * The prompts that were read into a cache, with the pages that have their keys and values, for later prompts that begin
 * alike. When pages are needed, the prompt that was not used for the longest time is dropped first.
 */
import type { PagePool } from './page-pool.ts'
import { commonBlocks } from './prompt-blocks.ts'

/** Prompts that are kept at most: each has the logits after it, and every new prompt is compared with all. */
const MAX_PROMPTS = 64

/** A prompt that was read in blocks. */
export interface ReadPrompt {
  readonly tokens: readonly number[]
  /** Pages of its tokens; in the last one other rows may follow. */
  readonly pages: readonly number[]
  /** Logits [V] for the token after it. */
  readonly logits: Float32Array
}

/** What is known of a prompt. */
export interface Known {
  /** Number of its first tokens whose keys and values are known. */
  readonly tokens: number
  /** The prompt that has them; null: none has any. */
  readonly prompt: ReadPrompt | null
}

export class ReadPrompts {
  private readonly pool: PagePool
  private readonly block: number
  /** The one that was not used for the longest time first. */
  private readonly kept: ReadPrompt[] = []

  /** @param block Tokens of a block of a prompt. */
  constructor(pool: PagePool, block: number) {
    this.pool = pool
    this.block = block
  }

  /**
   * The most that is known of a prompt: all of it if the same prompt was read, else full blocks with which it begins, but
   * never its last token, whose logits are needed.
   */
  find(tokens: readonly number[]): Known {
    let most: Known = { tokens: 0, prompt: null }
    for (const prompt of this.kept) {
      const common = isEqual(prompt.tokens, tokens)
        ? tokens.length
        : commonBlocks(prompt.tokens, tokens.slice(0, -1), this.block)
      if (common > most.tokens) most = { tokens: common, prompt }
    }
    return most
  }

  /** Keeps a prompt for later ones. @param pages Pages of its tokens, which a text holds. */
  keep(tokens: readonly number[], pages: readonly number[], logits: Float32Array): void {
    const same = this.kept.find((prompt) => isEqual(prompt.tokens, tokens))
    if (same) {
      this.use(same)
      return
    }
    if (this.kept.length === MAX_PROMPTS) this.dropOldest()
    this.pool.hold(pages)
    this.kept.push({ tokens: [...tokens], pages, logits: logits.slice() })
  }

  /** A prompt is used, and still kept if it was. */
  use(prompt: ReadPrompt): void {
    const at = this.kept.indexOf(prompt)
    if (at >= 0) this.kept.push(...this.kept.splice(at, 1))
  }

  /** Drops the prompt that was not used for the longest time. @throws Error if there is none */
  dropOldest(): void {
    const oldest = this.kept.shift()
    if (!oldest) throw new Error('internal: the cache has too few pages')
    this.pool.drop(oldest.pages)
  }
}

const isEqual = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((token, i) => token === b[i])
