/**
 * The contexts of several texts: each has keys and values of its own, and all share the programs.
 *
 * A prompt is processed in one pass (`Prefill`), each later token alone (`TokenDecoder`), with the keys and values of
 * earlier tokens in the cache of its context. A model with experts in attention, with a router or a layer of the user's
 * own, in training, or without memory for a cache recomputes the whole context for every token instead
 * (`ContextDecoder`). One text is computed at a time, and what is computed for it does not depend on the others.
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
import type { CollectedRoutes } from '../collected-routes.ts'
import { ContextDecoder } from './context-decoder.ts'
import { KeyValueCache } from './key-value-cache.ts'
import { Prefill } from './prefill.ts'
import { RowLogits } from './row-logits.ts'
import type { TextState } from './text-state.ts'
import { memoryOfContext, scratchOfTexts, TokenDecoder, TokenProgram } from './token-decoder.ts'

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
}

/** What else a computation returns. */
export interface ComputeOptions {
  /** Gets the choices of routers for the computed tokens. */
  readonly routes?: CollectedRoutes | undefined
  /** Called with the logits [V] for the token after each position of a prompt, except for those after its last token. */
  readonly onLogits?: ((position: number, logits: Float32Array) => void) | undefined
}

interface Context {
  readonly cache: KeyValueCache | null
  readonly decoder: TokenDecoder | ContextDecoder
}

export class Contexts {
  /** Configuration of the model for generation. */
  readonly config: ModelConfig
  private readonly contexts: readonly Context[]
  private readonly prefill: Prefill
  private readonly program: TokenProgram
  private readonly rows: RowLogits | null

  /**
   * @throws UsageError if a router or a layer of the user's own uses later tokens, or the contexts need more memory than
   * there is
   */
  constructor(
    runtime: Runtime,
    trainedConfig: ModelConfig,
    store: ModelStore,
    { count, isChanging = false, detailed = false }: ContextsOptions,
  ) {
    const config = generationConfig(trainedConfig)
    this.config = config
    const { moe, layer } = config
    if (moe?.router === 'own' && routerOf(moe).sees === 'batch') throw seesLater('router', moe.own)
    if (layer && ownLayers.get(layer.own).sees === 'batch') throw seesLater('layer', layer.own)
    this.program = new TokenProgram(runtime, config, store, detailed)
    const contexts = isChanging ? [] : cachedContexts(this.program, count)
    this.prefill = new Prefill(runtime, config, store, { cached: contexts.length > 0, detailed })
    this.rows = detailed ? new RowLogits(runtime, config, store) : null
    if (contexts.length > 0) this.contexts = contexts
    else
      this.contexts = Array.from({ length: count }, () => ({
        cache: null,
        decoder: new ContextDecoder(this.prefill),
      }))
  }

  /** Number of contexts. */
  get count(): number {
    return this.contexts.length
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
    const { cache, decoder } = this.contexts[index] as Context
    const { pending, experts } = text
    if (pending.kind === 'token') {
      const { token, position } = pending
      const logits = await decoder.step(token, position, experts)
      addRoutes(decoder, position, options)
      return logits
    }
    const { tokens, isFirst } = pending
    const last = tokens.length - 1
    if (isFirst && cache && tokens.length <= MAX_STEPWISE_PROMPT) {
      let logits: Float32Array = new Float32Array()
      for (const [position, token] of tokens.entries()) {
        logits = await decoder.step(token, position, experts)
        addRoutes(decoder, position, options)
        if (position < last) options.onLogits?.(position, logits)
      }
      return logits
    }
    const logits = cache
      ? await this.prefill.run(tokens, experts, cache)
      : await (decoder as ContextDecoder).run(tokens, experts)
    const { routers, length } = this.prefill.details
    // A context that is read again has tokens that were routed before, all but the last.
    options.routes?.add(routers, length, isFirst ? 0 : last, last + 1)
    if (isFirst && options.onLogits) await this.rows?.each(this.prefill.details.x_TD, last, options.onLogits)
    return logits
  }

  release(): void {
    // Scratch memory is returned in the reverse order.
    for (const { decoder } of this.contexts.toReversed()) decoder.release()
    this.program.release()
    this.prefill.release()
    this.rows?.release()
  }
}

function addRoutes(decoder: TokenDecoder | ContextDecoder, position: number, { routes }: ComputeOptions): void {
  if (!routes) return
  const { routers, length, row } = decoder.detailsAt(position)
  routes.add(routers, length, row, row + 1)
}

/**
 * Contexts with caches: `count` of them, or none if the model has no cache.
 * @throws UsageError if only some of them have memory
 */
function cachedContexts(program: TokenProgram, count: number): Context[] {
  const { runtime, config, store } = program
  const { memoryBytes = Number.POSITIVE_INFINITY, threads } = runtime
  const each = 4 * memoryOfContext(config, threads)
  const weights = store.byteLength - 4 * scratchOfTexts(config, count)
  const most = Math.max(1, Math.floor((memoryBytes - weights) / each))
  if (count > most) throw tooMany(count, each, most)
  const contexts: Context[] = []
  for (let i = 0; i < count; i++) {
    const memory = TokenDecoder.borrow(runtime, config, store)
    if (!memory) break
    const cache = new KeyValueCache(config, (floats) => memory.take(floats))
    contexts.push({ cache, decoder: new TokenDecoder(program, cache, memory) })
  }
  const { length } = contexts
  if (length === count || length === 0) return contexts
  for (const { decoder } of contexts.reverse()) decoder.release()
  throw tooMany(count, each, length)
}

const tooMany = (count: number, each: number, most: number): UsageError =>
  new UsageError(
    wording`invalid ${option('streams')}: ${count} (each takes ${bytes(each)} for its context, and beside the weights there is memory for ${grouped(most)})`,
  )
