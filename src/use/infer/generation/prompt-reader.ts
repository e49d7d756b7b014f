/**
 * Reads prompts into the pages of texts, a block at a time, so that the texts of others can go on between two blocks. What
 * is known of a prompt is not read.
 */
import type { ModelConfig } from '../../../core/model/config.ts'
import type { CachedContexts, PlacedContext, PlannedPrompt } from './cached-contexts.ts'
import type { CollectedRoutes, RouterRows } from './collected-routes.ts'
import type { Prefill } from './prefill.ts'
import { BLOCK, blocksOf, type PromptBlock } from './prompt-blocks.ts'
import type { RowLogits } from './row-logits.ts'
import type { Pending, TextState } from './text-state.ts'

/** A prompt of at most this many tokens is read token by token, which is faster than compiling a program for it. */
const MAX_STEPWISE_PROMPT = 16

/** What else a computation returns. */
export interface ComputeOptions {
  /** Gets the choices of routers for the computed tokens. */
  readonly routes?: CollectedRoutes | undefined
  /** Called with the logits [V] for the token after each position of a prompt, except for those after its last token. */
  readonly onLogits?: ((position: number, logits: Float32Array) => void) | undefined
  /** Called with the number of tokens of a context that are known and not computed. */
  readonly onReused?: ((tokens: number) => void) | undefined
  /** Called with the number of tokens of a context that were computed, once for each block. */
  readonly onRead?: ((tokens: number) => void) | undefined
}

export type PendingContext = Extract<Pending, { kind: 'context' }>

interface Parts {
  readonly config: ModelConfig
  readonly cached: CachedContexts
  readonly prefill: Prefill
  /** Computes logits of earlier tokens; null: they cannot be asked for. */
  readonly rows: RowLogits | null
  /** Takes the choices of routers for the tokens `from` to `to` - 1 of a pass of `tokens` tokens. */
  readonly routes: (
    routes: CollectedRoutes | undefined,
    routers: readonly RouterRows[],
    tokens: number,
    from: number,
    to: number,
  ) => void
}

export class PromptReader {
  private readonly parts: Parts
  /** What is left to read in contexts whose first blocks have been read. */
  private readonly left = new WeakMap<PlacedContext, { readonly of: TextState; blocks: readonly PromptBlock[] }>()

  constructor(parts: Parts) {
    this.parts = parts
  }

  /** Whether there are pages for a prompt, or it has them already. */
  canRead(context: PlacedContext, text: TextState, pending: PendingContext, isDetailed: boolean): boolean {
    return this.isReading(context, text) || this.parts.cached.hasRoom(context, this.planOf(text, pending, isDetailed))
  }

  private isReading(context: PlacedContext, text: TextState): boolean {
    return context.pages.length > 0 && this.left.get(context)?.of === text
  }

  /** Reads the next block of a prompt. Returns the logits [V] after it, or null if another one follows. */
  async readPart(
    context: PlacedContext,
    text: TextState,
    pending: PendingContext,
    options: ComputeOptions,
  ): Promise<Float32Array | null> {
    const { tokens } = pending
    const { config, cached, prefill } = this.parts
    const { experts } = text
    if (!this.isReading(context, text)) {
      const isDetailed = options.routes !== undefined || (pending.isFirst && options.onLogits !== undefined)
      const reused = await cached.begin(context, this.planOf(text, pending, isDetailed))
      options.onReused?.(reused.tokens)
      if (reused.logits) return reused.logits
      if (isStepwise(pending)) return this.readTokens(context, text, pending, options)
      this.left.set(context, { of: text, blocks: blocksOf(tokens.length, reused.tokens, config.sequence, BLOCK) })
    }
    const [block, ...blocks] = this.left.get(context)?.blocks ?? []
    if (!block) throw new Error('internal: a context without tokens')
    const { decoder, pages } = context
    const logits = await prefill.runBlock(tokens, experts, block, { cache: decoder.cache, pages })
    options.onRead?.(block.count)
    await this.addDetails(pending, block, options)
    if (blocks.length > 0) {
      this.left.set(context, { of: text, blocks })
      return null
    }
    this.left.delete(context)
    if (this.isReusable) cached.keep(context, tokens, logits)
    return logits
  }

  /** How a context is to be read. Details are known only of tokens that are computed. */
  private planOf({ positions }: TextState, pending: PendingContext, isDetailed: boolean): PlannedPrompt {
    return { tokens: pending.tokens, positions, reuses: this.isReusable && !isStepwise(pending) && !isDetailed }
  }

  /** Whether keys and values depend on the tokens alone: experts of a random router depend on the seed of a text. */
  private get isReusable(): boolean {
    return this.parts.config.moe?.router !== 'random'
  }

  /** Hands on the details of `count` tokens that were computed, from position `from` of a context on. */
  async addDetails(
    { tokens, isFirst }: PendingContext,
    { from, count }: Pick<PromptBlock, 'from' | 'count'>,
    { routes, onLogits }: ComputeOptions,
  ): Promise<void> {
    const { prefill, rows } = this.parts
    const { routers, length, x_TD } = prefill.details
    const last = tokens.length - 1
    // A context that is read again has tokens that were routed before, all but the last.
    const first = isFirst ? 0 : Math.max(0, Math.min(count, last - from))
    if (first < count) this.parts.routes(routes, routers, length, first, count)
    if (!isFirst || !onLogits) return
    const before = Math.min(count, last - from)
    await rows?.each(x_TD, before, (row, logits) => onLogits(from + row, logits))
  }

  /** Reads a short prompt token by token. */
  private async readTokens(
    { decoder, pages }: PlacedContext,
    { experts }: TextState,
    { tokens }: PendingContext,
    { routes, onLogits, onRead }: ComputeOptions,
  ): Promise<Float32Array> {
    let logits: Float32Array = new Float32Array()
    for (const [position, token] of tokens.entries()) {
      await decoder.step([{ pages, token, position, experts }], (_, result) => {
        const { routers, length, row } = result
        this.parts.routes(routes, routers, length, row, row + 1)
        logits = result.logits
      })
      if (position < tokens.length - 1) onLogits?.(position, logits)
    }
    onRead?.(tokens.length)
    return logits
  }
}

/** Whether a context is read token by token. */
const isStepwise = ({ tokens, isFirst }: PendingContext): boolean => isFirst && tokens.length <= MAX_STEPWISE_PROMPT
