/**
 * The contexts of several texts: each has keys and values of its own, and all share the programs.
 *
 * A prompt is read in blocks (`Prefill`). Blocks that were read before are not read again (`CachedContexts`). Later, the
 * next tokens of all texts are computed together (`TokenDecoder`), with the keys and values of earlier tokens in the pages
 * of each text. Some models recompute the whole context for every token instead (`ContextDecoder`): those
 * with experts in attention, with a router or a layer of the user's own, in training, or without memory for a cache. What
 * is computed for a text does not depend on the others.
 */
import { UsageError } from '../../../core/errors.ts'
import { activatedExperts } from '../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { ownLayers } from '../../../core/model/own/layer.ts'
import { routedModules } from '../../../core/model/parameters.ts'
import { routerOf } from '../../../core/model/routing/routers.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { generationConfig } from '../../../train/step/evaluation/capacity-rules.ts'
import type { ModelStore } from '../../../train/step/store/model-store.ts'
import { CachedContexts, type PageCounts } from './cached-contexts.ts'
import type { CollectedRoutes, RouterRows } from './collected-routes.ts'
import { ContextDecoder } from './context-decoder.ts'
import type { ExpertTraffic } from './expert-traffic.ts'
import { openDecoders, sizeOfTexts } from './open-decoders.ts'
import { Prefill } from './prefill.ts'
import { BLOCK } from './prompt-blocks.ts'
import { type ComputeOptions, PromptReader } from './prompt-reader.ts'
import { RowLogits } from './row-logits.ts'
import type { TextState } from './text-state.ts'
import type { NextToken, TokenDecoder } from './token-decoder.ts'
import { TokenProgram } from './token-program.ts'

const seesLater = (part: string, id: string | null) =>
  new UsageError(`invalid model: its ${part} ${id} uses later tokens (sees: "batch"), so it cannot write text`)

export interface ContextsOptions {
  /** Number of contexts. */
  readonly count: number
  /**
   * Memory for keys and values, in bytes, which the contexts share; a text whose pages are all in use waits. Default: all
   * of a context for each.
   */
  readonly contextBytes?: number | undefined
  /**
   * Whether parameters may change between two tokens: then nothing that depends on them is kept, and the whole context
   * is recomputed for every token. Default: no.
   */
  readonly isChanging?: boolean
  /** Whether {@link ComputeOptions} can be used. Default: no. */
  readonly detailed?: boolean
  /** Counts the choices for all computed tokens, if the computation is detailed. Default: they are not counted. */
  readonly traffic?: ExpertTraffic
}

/** A text and its context, whose next token is computed. */
export interface TextInContext {
  /** Context of the text, the same for all of its computations; no other text may use it meanwhile. */
  readonly context: number
  /** Its pending is a token. */
  readonly text: TextState
  /** Gets the choices of routers for the token. */
  readonly routes?: CollectedRoutes | undefined
}

export class Contexts {
  /** Configuration of the model for generation. */
  readonly config: ModelConfig
  /** Number of contexts. */
  readonly count: number
  private readonly decoders: readonly TokenDecoder[]
  /** The contexts of the decoders; none if they have no caches. */
  private readonly cached: CachedContexts
  /** Decoders of contexts without caches. */
  private readonly uncached: readonly ContextDecoder[]
  private readonly prefill: Prefill
  private readonly reader: PromptReader
  private readonly program: TokenProgram
  private readonly rows: RowLogits | null
  private readonly traffic: ExpertTraffic | undefined

  /**
   * @throws UsageError if a router or a layer of the user's own uses later tokens, or the contexts need more memory than
   * there is
   */
  constructor(
    runtime: Runtime,
    trainedConfig: ModelConfig,
    store: ModelStore,
    { count, contextBytes, isChanging = false, detailed = false, traffic }: ContextsOptions,
  ) {
    const config = generationConfig(trainedConfig)
    this.config = config
    this.count = count
    this.traffic = traffic
    const { moe, layer } = config
    if (moe?.router === 'own' && routerOf(moe).sees === 'batch') throw seesLater('router', moe.own)
    if (layer && ownLayers.get(layer.own).sees === 'batch') throw seesLater('layer', layer.own)
    this.program = new TokenProgram(runtime, config, store, detailed)
    this.decoders = isChanging ? [] : openDecoders(this.program, sizeOfTexts(config, count, contextBytes))
    this.cached = new CachedContexts(config, this.decoders, BLOCK)
    const isCached = this.decoders.length > 0
    this.prefill = new Prefill(runtime, config, store, { cached: isCached, detailed })
    const none = isCached ? 0 : count
    this.uncached = Array.from({ length: none }, () => new ContextDecoder(this.prefill))
    this.rows = detailed ? new RowLogits(runtime, config, store) : null
    const { cached, prefill, rows } = this
    this.reader = new PromptReader({ config, cached, prefill, rows, routes: (...chosen) => this.addRoutes(...chosen) })
  }

  /** Number of choices of experts for each token, in all layers. */
  get choicesPerToken(): number {
    const { config } = this
    const { moe, layers } = config
    if (!moe) return 0
    const routers = Array.from({ length: layers }, (_, layer) => routedModules(config, layer).length)
    return activatedExperts(moe) * routers.reduce((sum, count) => sum + count, 0)
  }

  /**
   * Computes what is pending of a text. Returns the logits [V] for its next token, which the next computation of any
   * text may overwrite.
   * @param index Context of the text, the same for all of its computations; no other text may use it meanwhile.
   */
  async compute(index: number, text: TextState, options: ComputeOptions = {}): Promise<Float32Array> {
    for (;;) {
      const logits = await this.computePart(index, text, options)
      if (logits) return logits
    }
  }

  /** As {@link compute}, but reads one block of a prompt; null: another part of it is to be read. */
  async computePart(index: number, text: TextState, options: ComputeOptions = {}): Promise<Float32Array | null> {
    const { pending, experts } = text
    const cached = this.cached.all[index]
    if (pending.kind === 'token') {
      let logits: Float32Array = new Float32Array()
      await this.computeTokens([{ context: index, text, routes: options.routes }], (_, computed) => {
        logits = computed
      })
      return logits
    }
    if (cached) return this.reader.readPart(cached, text, pending, options)
    const { tokens } = pending
    const logits = await (this.uncached[index] as ContextDecoder).run(tokens, experts)
    options.onRead?.(tokens.length)
    await this.reader.addDetails(pending, { from: 0, count: tokens.length }, options)
    return logits
  }

  /**
   * Whether what is pending of a text can be computed: there are pages for its prompt and for all tokens that it may write.
   * @param isDetailed Whether anything of {@link ComputeOptions} will be asked for.
   */
  canRead(index: number, text: TextState, isDetailed: boolean): boolean {
    const { pending } = text
    const cached = this.cached.all[index]
    return !cached || pending.kind === 'token' || this.reader.canRead(cached, text, pending, isDetailed)
  }

  /** Frees the pages of a text that has ended, or whose context is to be read again. */
  leave(index: number): void {
    const cached = this.cached.all[index]
    if (cached) this.cached.leave(cached)
  }

  /** Numbers of pages for keys and values; all are 0 if there is no cache. */
  get pages(): PageCounts {
    return this.cached.pages
  }

  /** The context, of those that are free, in which a text with a prompt has the fewest tokens to read. */
  choose(free: readonly number[], prompt: readonly number[]): number {
    return this.uncached.length > 0 ? (free[0] as number) : this.cached.choose(free, prompt)
  }

  /**
   * Computes the pending tokens of texts in different contexts.
   * @param onLogits Called for each text in turn, with its index and the logits [V] for its next token, which are
   * overwritten after its return.
   */
  async computeTokens(
    texts: readonly TextInContext[],
    onLogits: (index: number, logits: Float32Array) => void,
  ): Promise<void> {
    const byDecoder = new Map<TokenDecoder, { index: number; next: NextToken }[]>()
    for (const [index, { context, text, routes }] of texts.entries()) {
      const { pending, experts } = text
      if (pending.kind !== 'token') throw new Error('internal: the pending of a text is not a token')
      const { token, position } = pending
      const cached = this.cached.all[context]
      if (cached) {
        const of = byDecoder.get(cached.decoder) ?? []
        byDecoder.set(cached.decoder, of)
        of.push({ index, next: { pages: cached.pages, token, position, experts } })
        continue
      }
      const decoder = this.uncached[context] as ContextDecoder
      const logits = await decoder.step(token, position, experts)
      const { routers, length, row } = decoder.detailsAt(position)
      this.addRoutes(routes, routers, length, row, row + 1)
      onLogits(index, logits)
    }
    for (const [decoder, of] of byDecoder)
      await decoder.step(
        of.map(({ next }) => next),
        (i, result) => {
          const { index } = of[i] as { index: number }
          const { routers, length, row } = result
          this.addRoutes(texts[index]?.routes, routers, length, row, row + 1)
          onLogits(index, result.logits)
        },
      )
  }

  /** Hands on the choices of routers for the tokens `from` to `to` - 1 of a pass of `tokens` tokens. */
  private addRoutes(
    routes: CollectedRoutes | undefined,
    routers: readonly RouterRows[],
    tokens: number,
    from: number,
    to: number,
  ): void {
    routes?.add(routers, tokens, from, to)
    this.traffic?.add(routers, tokens, from, to)
  }

  release(): void {
    // Scratch memory is returned in the reverse order.
    for (const decoder of this.decoders.toReversed()) decoder.release()
    for (const decoder of this.uncached) decoder.release()
    this.program.release()
    this.prefill.release()
    this.rows?.release()
  }
}
