/**
 * The contexts of several texts: each has keys and values of its own, and all share the programs.
 *
 * A prompt is processed in one pass (`Prefill`), and later the next tokens of all texts together (`TokenDecoder`), with
 * the keys and values of earlier tokens in the cache of each context. A model with experts in attention, with a router or
 * a layer of the user's own, in training, or without memory for a cache recomputes the whole context for every token
 * instead (`ContextDecoder`). What is computed for a text does not depend on the others.
 */
import { option, UsageError, wording } from '../../../core/errors.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { ownLayers } from '../../../core/model/own-layer.ts'
import { activatedExperts, routedModules } from '../../../core/model/parameters.ts'
import { routerOf } from '../../../core/model/routing/routers.ts'
import { bytes, grouped } from '../../../core/text/numbers.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { generationConfig } from '../../../train/step/capacity-rules.ts'
import type { ModelStore } from '../../../train/step/model-store.ts'
import type { CollectedRoutes, RouterRows } from '../collected-routes.ts'
import type { ExpertTraffic } from '../expert-traffic.ts'
import { ContextDecoder } from './context-decoder.ts'
import type { CachedContext } from './key-value-cache.ts'
import type { PredeterminedExperts } from './predetermined-experts.ts'
import { Prefill } from './prefill.ts'
import { RowLogits } from './row-logits.ts'
import type { TextState } from './text-state.ts'
import { type NextToken, TokenDecoder } from './token-decoder.ts'
import { memoryOfContexts, scratchOfTexts } from './token-memory.ts'
import { TokenProgram } from './token-program.ts'

/** A prompt of at most this many tokens is read token by token, which is faster than compiling a program for it. */
const MAX_STEPWISE_PROMPT = 16

const seesLater = (part: string, id: string | null) =>
  new UsageError(`invalid model: its ${part} ${id} uses later tokens (sees: "batch"), so it cannot write text`)

export interface ContextsOptions {
  /** Number of contexts. */
  readonly count: number
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

/** What else a computation returns. */
export interface ComputeOptions {
  /** Gets the choices of routers for the computed tokens. */
  readonly routes?: CollectedRoutes | undefined
  /** Called with the logits [V] for the token after each position of a prompt, except for those after its last token. */
  readonly onLogits?: ((position: number, logits: Float32Array) => void) | undefined
}

/** A context in the cache of a decoder. */
interface Cached {
  readonly decoder: TokenDecoder
  /** Its index among the contexts of the decoder. */
  readonly place: number
  /** What was last read into it in a pass, which its rows still have, and the logits after it. */
  read: { readonly tokens: readonly number[]; readonly logits: Float32Array } | null
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
  private readonly cached: readonly Cached[]
  /** Decoders of contexts without caches. */
  private readonly uncached: readonly ContextDecoder[]
  private readonly prefill: Prefill
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
    { count, isChanging = false, detailed = false, traffic }: ContextsOptions,
  ) {
    const config = generationConfig(trainedConfig)
    this.config = config
    this.count = count
    this.traffic = traffic
    const { moe, layer } = config
    if (moe?.router === 'own' && routerOf(moe).sees === 'batch') throw seesLater('router', moe.own)
    if (layer && ownLayers.get(layer.own).sees === 'batch') throw seesLater('layer', layer.own)
    this.program = new TokenProgram(runtime, config, store, detailed)
    this.decoders = isChanging ? [] : openDecoders(this.program, count)
    this.cached = this.decoders.flatMap((decoder) =>
      decoder.cache.contexts.map((_, place) => ({ decoder, place, read: null })),
    )
    this.prefill = new Prefill(runtime, config, store, { cached: this.cached.length > 0, detailed })
    const none = this.cached.length > 0 ? 0 : count
    this.uncached = Array.from({ length: none }, () => new ContextDecoder(this.prefill))
    this.rows = detailed ? new RowLogits(runtime, config, store) : null
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
    const { pending, experts } = text
    const cached = this.cached[index]
    if (pending.kind === 'token') {
      let logits: Float32Array = new Float32Array()
      await this.computeTokens([{ context: index, text, routes: options.routes }], (_, computed) => {
        logits = computed
      })
      return logits
    }
    const { tokens, isFirst } = pending
    if (isFirst && cached && tokens.length <= MAX_STEPWISE_PROMPT)
      return this.readTokens(cached, tokens, experts, options)
    const last = tokens.length - 1
    if (cached && !options.routes && !options.onLogits) {
      const found = await this.copied(cached, tokens)
      if (found) return found
    }
    if (cached) cached.read = null
    const logits = cached
      ? await this.prefill.run(tokens, experts, cached.decoder.cache.contexts[cached.place])
      : await (this.uncached[index] as ContextDecoder).run(tokens, experts)
    // Experts of a random router depend on the seed of a text.
    if (cached && this.config.moe?.router !== 'random') cached.read = { tokens: [...tokens], logits: logits.slice() }
    const { routers, length } = this.prefill.details
    // A context that is read again has tokens that were routed before, all but the last.
    this.addRoutes(options.routes, routers, length, isFirst ? 0 : last, last + 1)
    if (isFirst && options.onLogits) await this.rows?.each(this.prefill.details.x_TD, last, options.onLogits)
    return logits
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
      const cached = this.cached[context]
      if (cached) {
        const of = byDecoder.get(cached.decoder) ?? []
        byDecoder.set(cached.decoder, of)
        of.push({ index, next: { context: cached.place, token, position, experts } })
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

  /**
   * Copies the keys and values of the same tokens from another context that has read them, which have the same bits, into
   * a context. Returns the logits after them, or null if no context has read them.
   */
  private async copied(to: Cached, tokens: readonly number[]): Promise<Float32Array | null> {
    const from = this.cached.find(({ read }) => read && isSame(read.tokens, tokens))
    if (!from?.read) return null
    if (from !== to) {
      to.read = null
      const [source, target] = [from, to].map(({ decoder, place }) => decoder.cache.contexts[place]) as [
        CachedContext,
        CachedContext,
      ]
      await target.copy(source, tokens.length)
      to.read = from.read
    }
    return to.read?.logits ?? null
  }

  /** Reads a short prompt token by token. */
  private async readTokens(
    cached: Cached,
    tokens: readonly number[],
    experts: PredeterminedExperts,
    { routes, onLogits }: ComputeOptions,
  ): Promise<Float32Array> {
    const { decoder, place } = cached
    cached.read = null
    let logits: Float32Array = new Float32Array()
    for (const [position, token] of tokens.entries()) {
      await decoder.step([{ context: place, token, position, experts }], (_, result) => {
        const { routers, length, row } = result
        this.addRoutes(routes, routers, length, row, row + 1)
        logits = result.logits
      })
      if (position < tokens.length - 1) onLogits?.(position, logits)
    }
    return logits
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

const isSame = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((token, i) => token === b[i])

/**
 * Decoders with `count` contexts together: one if its memory fits in an arena, else as few as possible; none if the
 * model cannot be decoded token by token.
 * @throws UsageError if only some of the contexts have memory
 */
function openDecoders(program: TokenProgram, count: number): TokenDecoder[] {
  const { runtime, config, store } = program
  const { memoryBytes = Number.POSITIVE_INFINITY, threads } = runtime
  const each = 4 * memoryOfContexts(config, threads, 1)
  const weights = store.byteLength - 4 * scratchOfTexts(config, count)
  const most = Math.max(1, Math.floor((memoryBytes - weights) / each))
  if (count > most) throw tooMany(count, each, most)
  const decoders: TokenDecoder[] = []
  let opened = 0
  for (let size = count; opened < count && size > 0; ) {
    const decoder = TokenDecoder.open(program, size)
    if (decoder) {
      decoders.push(decoder)
      opened += size
      size = Math.min(size, count - opened)
    } else size = Math.floor(size / 2)
  }
  if (opened === count || opened === 0) return decoders
  for (const decoder of decoders.reverse()) decoder.release()
  throw tooMany(count, each, opened)
}

const tooMany = (count: number, each: number, most: number): UsageError =>
  new UsageError(
    wording`invalid ${option('streams')}: ${count} (each takes ${bytes(each)} for its context, and beside the weights there is memory for ${grouped(most)})`,
  )
