/**
 * The texts in the caches of decoders, and the pages that they hold.
 *
 * A text holds the pages for all of its tokens from the time when its prompt is read, so it is never interrupted; a prompt
 * for which there are too few pages must wait. The full blocks with which a prompt begins are shared with a prompt that
 * was read before, page by page: they have the bits that reading them again would have (`prompt-blocks.ts`), and nobody
 * writes to them. If a prompt is the same as a whole, one text can add its tokens to the last page; others copy its rows.
 * Tokens that were decoded one by one have other rounding errors than those of a block, so they are never shared.
 */
import type { ModelConfig } from '../../../core/model/config.ts'
import { pageOf, pagesFor } from '../../../core/model/kv-cache.ts'
import { commonBlocks } from './prompt-blocks.ts'
import type { TokenDecoder } from './token-decoder.ts'

/** What a context has of a prompt. */
export interface Reused {
  /** Number of tokens whose keys and values the context has. */
  readonly tokens: number
  /** The logits [V] after them, if they are the whole prompt. */
  readonly logits: Float32Array | null
}

/** A prompt that is to be read, and how far its text may go. */
export interface PlannedPrompt {
  readonly tokens: readonly number[]
  /** Positions that the text may have in its context, those of the prompt included. */
  readonly positions: number
  /** Whether keys and values of other texts may be used. */
  readonly reuses: boolean
}

/** Numbers of pages of the caches. */
export interface PageCounts {
  readonly all: number
  /** Pages of texts that are being written. */
  readonly inUse: number
  /** Other pages, of prompts that are kept for later texts. */
  readonly kept: number
}

/** The pages of the cache of a decoder. */
class DecoderPages {
  readonly decoder: TokenDecoder
  readonly pool: PagePool
  readonly prompts: ReadPrompts
  readonly texts: PlacedContext[] = []

  constructor(decoder: TokenDecoder, block: number) {
    this.decoder = decoder
    this.pool = new PagePool(decoder.cache.pages)
    this.prompts = new ReadPrompts(this.pool, block)
  }

  /** Number of pages of texts, those among `also` included. */
  heldWith(also: readonly number[]): number {
    return new Set([...also, ...this.texts.flatMap(({ pages }) => pages)]).size
  }
}

/** A place for a text in the cache of a decoder. */
export class PlacedContext {
  readonly of: DecoderPages
  /** The pages of its text; none before the prompt is read. */
  pages: readonly number[] = []

  constructor(of: DecoderPages) {
    this.of = of
  }

  get decoder(): TokenDecoder {
    return this.of.decoder
  }
}

export class CachedContexts {
  readonly all: readonly PlacedContext[]
  private readonly config: ModelConfig
  private readonly decoders: readonly DecoderPages[]

  /** @param block Tokens of a block of a prompt. */
  constructor(config: ModelConfig, decoders: readonly TokenDecoder[], block: number) {
    this.config = config
    this.decoders = decoders.map((decoder) => new DecoderPages(decoder, block))
    for (const of of this.decoders)
      for (let text = 0; text < of.decoder.texts; text++) of.texts.push(new PlacedContext(of))
    this.all = this.decoders.flatMap(({ texts }) => texts)
  }

  get pages(): PageCounts {
    const sum = (of: (decoder: DecoderPages) => number) =>
      this.decoders.reduce((total, decoder) => total + of(decoder), 0)
    const [all, inUse] = [sum(({ pool }) => pool.count), sum((decoder) => decoder.heldWith([]))]
    return { all, inUse, kept: all - inUse - sum(({ pool }) => pool.left) }
  }

  /**
   * The place, of those that are free, for a text with a prompt: in the cache that has the most of the prompt, then in the
   * one with the most pages.
   */
  choose(free: readonly number[], prompt: readonly number[]): number {
    const rated = free.map((index) => {
      const { of } = this.all[index] as PlacedContext
      return { index, known: of.prompts.find(prompt).tokens, left: of.pool.count - of.heldWith([]) }
    })
    const [best] = rated.sort((a, b) => b.known - a.known || b.left - a.left)
    if (!best) throw new Error('internal: no free place')
    return best.index
  }

  /** Whether there are pages for a prompt and its text. */
  hasRoom({ of }: PlacedContext, prompt: PlannedPrompt): boolean {
    return this.sharing(of, prompt).fits
  }

  /**
   * Gives a context the pages for a prompt and its text, for which there is room. Returns what they have of the prompt; the
   * rest is to be read.
   */
  async begin(context: PlacedContext, planned: PlannedPrompt): Promise<Reused> {
    const { of } = context
    const { pool, prompts, decoder } = of
    this.leave(context)
    const { known, shared, copied, own } = this.sharing(of, planned)
    pool.hold([...shared, ...copied])
    while (pool.left < own) prompts.dropOldest()
    context.pages = [...shared, ...pool.take(own)]
    try {
      const rows = known.tokens % pageOf(this.config)
      for (const page of copied) await decoder.cache.copy(page, context.pages[shared.length] as number, rows)
    } finally {
      pool.drop(copied)
    }
    const { tokens, prompt } = known
    if (prompt) prompts.use(prompt)
    return { tokens, logits: tokens === planned.tokens.length ? (prompt?.logits ?? null) : null }
  }

  /**
   * The pages that a text would share with a known prompt, a page of which it would copy the rows, and the number of
   * others; and whether there are so many. The text may add its tokens to the last page of a prompt that no text uses: the
   * rows of the prompt stay.
   */
  private sharing(of: DecoderPages, { tokens, positions, reuses }: PlannedPrompt) {
    const page = pageOf(this.config)
    const known: Known = reuses ? of.prompts.find(tokens) : { tokens: 0, prompt: null }
    const stay = known.prompt?.pages.slice(0, Math.ceil(known.tokens / page)) ?? []
    const last = known.tokens % page > 0 ? stay.at(-1) : undefined
    const isUsed = last !== undefined && of.texts.some(({ pages }) => pages.includes(last))
    const [shared, copied] = isUsed ? [stay.slice(0, -1), stay.slice(-1)] : [stay, []]
    const own = pagesFor(this.config, positions) - shared.length
    return { known, shared, copied, own, fits: of.pool.count - of.heldWith(stay) >= own }
  }

  /** Keeps a prompt that was read for later texts. */
  keep({ of, pages }: PlacedContext, tokens: readonly number[], logits: Float32Array): void {
    of.prompts.keep(tokens, pages.slice(0, pagesFor(this.config, tokens.length)), logits)
  }

  /** A text no longer needs its pages. */
  leave(context: PlacedContext): void {
    const { of, pages } = context
    context.pages = []
    of.pool.drop(pages)
  }
}

/** Which pages of a cache are held, and by how many holders: texts, and prompts that are kept for later texts. */
class PagePool {
  readonly count: number
  private readonly holders: Uint32Array
  /** Pages that nobody holds. */
  private readonly free: number[]

  constructor(count: number) {
    this.count = count
    this.holders = new Uint32Array(count)
    this.free = Array.from({ length: count }, (_, page) => page).reverse()
  }

  /** Number of pages that nobody holds. */
  get left(): number {
    return this.free.length
  }

  /** Takes pages that nobody holds, each for one holder. */
  take(count: number): number[] {
    if (count > this.free.length) throw new Error(`internal: ${count} pages of ${this.free.length} that are free`)
    const pages = this.free.splice(this.free.length - count, count).reverse()
    for (const page of pages) this.holders[page] = 1
    return pages
  }

  /** Adds a holder to pages that have one. */
  hold(pages: readonly number[]): void {
    for (const page of pages) this.holders[page] = this.holdersOf(page) + 1
  }

  /** Removes a holder from pages; those without one become free. */
  drop(pages: readonly number[]): void {
    for (const page of pages) {
      const left = this.holdersOf(page) - 1
      this.holders[page] = left
      if (left === 0) this.free.push(page)
    }
  }

  private holdersOf(page: number): number {
    const holders = this.holders[page] ?? 0
    if (holders === 0) throw new Error(`internal: nobody holds page ${page}`)
    return holders
  }
}

/** Prompts that are kept at most: each has the logits after it, and every new prompt is compared with all. */
const MAX_PROMPTS = 64

/** A prompt that was read in blocks. */
interface ReadPrompt {
  readonly tokens: readonly number[]
  /** Pages of its tokens; in the last one other rows may follow. */
  readonly pages: readonly number[]
  /** Logits [V] for the token after it. */
  readonly logits: Float32Array
}

/** What is known of a prompt. */
interface Known {
  /** Number of its first tokens whose keys and values are known. */
  readonly tokens: number
  /** The prompt that has them; null: none has any. */
  readonly prompt: ReadPrompt | null
}

/**
 * The prompts that were read into a cache, with the pages that have their keys and values, for later prompts that begin
 * alike. When pages are needed, the prompt that was not used for the longest time is dropped first.
 */
class ReadPrompts {
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
