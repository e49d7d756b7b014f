/**
 * Decodes one token at a time with a single program (src/core/model/token/token.ts) and a key-value cache. It requires the
 * kernels of the runtime and all parameters in one arena: weights, cache and working memory then share an arena,
 * and kernels read the weights of the chosen experts in place.
 */
import { withKernels } from '../../../core/graph/tensor.ts'
import { attentionColumns, headWidthOf, type ModelConfig } from '../../../core/model/config.ts'
import { activatedExperts, isSparse, parameterSpecs, SymbolicParameters } from '../../../core/model/parameters.ts'
import { type Rotation, rotationOf, writeAngles } from '../../../core/model/rotary.ts'
import { hasRouterWeights } from '../../../core/model/routing/routers.ts'
import { tokenProgram } from '../../../core/model/token/token.ts'
import { choicesName } from '../../../core/model/transformer.ts'
import { floatsOf, MAX_ARENA_BYTES } from '../../../engine/contract/arena.ts'
import type { Binding, Buffer, Executable, PortMemory, Runtime } from '../../../engine/contract/runtime.ts'
import { type BorrowedScratch, paddedFloats } from '../../../train/step/bank.ts'
import { inputNameOf, type ModelStore } from '../../../train/step/model-store.ts'
import { QuantizedStore } from '../quantized/quantized-store.ts'
import type { KeyValueCache } from './key-value-cache.ts'
import type { PredeterminedExperts } from './predetermined-experts.ts'

/** Maximum number of threads, for which scratch memory is reserved. */
const MAX_THREADS = 128

/** Floats for all intermediate rows of a token, scratch memory of each thread, and small inputs. */
function workingFloats(config: ModelConfig): number {
  const { width, heads, vocabulary, sequence, hidden, moe } = config
  const { queries, keys } = attentionColumns(config)
  const rows = moe ? activatedExperts(moe) * moe.hidden + moe.experts + moe.sharedHidden : 0
  // The scratch memory of all threads holds scores of their heads, of which a thread has at least one, and of a router.
  const scratch =
    (2 * heads + MAX_THREADS) * (sequence + 2 * headWidthOf(config) + 64) +
    MAX_THREADS * (2 * (moe?.experts ?? 0) + 1024)
  // Products with quantized weights keep a row, and the row rounded, for each thread.
  const widest = Math.max(width, queries, hidden, moe?.hidden ?? 0, moe?.sharedHidden ?? 0)
  const rounded = MAX_THREADS * (2 * widest + 1024)
  return paddedFloats(rounded + 32 * (5 * width + queries + 2 * keys + hidden + rows + 64) + 2 * vocabulary + scratch)
}

/**
 * Scratch memory in the store that a {@link TokenDecoder} needs, in floats; 0 if it cannot be used because the
 * context is too long, attention has experts, or a router or a layer is the user's own.
 */
export function tokenScratch(config: ModelConfig): number {
  const { layers, sequence, vocabulary, moe, layer } = config
  if (layer || (moe && (moe.attention !== 'none' || moe.router === 'own'))) return 0
  const choices = moe ? layers * paddedFloats(activatedExperts(moe)) : 0
  const caches = 2 * layers * paddedFloats(sequence * attentionColumns(config).keys)
  const floats =
    workingFloats(config) + caches + paddedFloats(vocabulary) + 4 * paddedFloats(headWidthOf(config)) + choices
  return floats * 4 <= MAX_ARENA_BYTES / 4 ? floats : 0
}

interface Compiled {
  readonly executable: Executable
  readonly binding: Binding
}

export class TokenDecoder {
  private readonly runtime: Runtime
  private readonly config: ModelConfig
  private readonly store: ModelStore
  private readonly memory: BorrowedScratch
  private readonly rotation: Rotation
  private readonly angles: { readonly cos: Float32Array; readonly sin: Float32Array }
  private readonly token: Int32Array
  private readonly position: Int32Array
  private readonly logits: Float32Array
  /** Experts chosen by routers without weights, by layer. */
  private readonly choices = new Map<number, Int32Array>()
  private readonly ports: Readonly<Record<string, Buffer>>
  private readonly cache: KeyValueCache
  private compiled: Compiled | undefined

  /**
   * @param memory Memory of {@link tokenScratch} floats, from which the cache has already taken its tables.
   */
  constructor(runtime: Runtime, config: ModelConfig, store: ModelStore, cache: KeyValueCache, memory: BorrowedScratch) {
    this.runtime = runtime
    this.config = config
    this.store = store
    this.cache = cache
    this.memory = memory
    this.rotation = rotationOf(config)
    const half = this.rotation.frequencies.length
    // On the CPU kernels reach the arena only; a device gets arrays as inputs.
    const floats = (count: number): Float32Array =>
      this.inArena ? floatsOf(memory.take(count)) : new Float32Array(count)
    const integers = (count: number): Int32Array => {
      const { buffer, byteOffset } = floats(count)
      return new Int32Array(buffer, byteOffset, count)
    }
    this.token = integers(1)
    this.position = integers(1)
    this.angles = { cos: floats(half), sin: floats(half) }
    this.logits = floats(config.vocabulary)
    const { token, position, angles, logits } = this
    const ports: Record<string, Buffer> = { token, position, ...angles, logits }
    for (let layer = 0; layer < config.layers; layer++) {
      if (!config.moe || !isSparse(config, layer) || hasRouterWeights(config.moe)) continue
      const experts = integers(activatedExperts(config.moe))
      this.choices.set(layer, experts)
      ports[choicesName(layer)] = experts
    }
    this.ports = ports
  }

  /** Whether all memory that the program uses is in the arena of the parameters. */
  private get inArena(): boolean {
    return this.runtime.device === 'cpu'
  }

  /** Borrows memory for a decoder and its cache; null if the store lacks memory. */
  static borrow(runtime: Runtime, config: ModelConfig, store: ModelStore): BorrowedScratch | null {
    const floats = tokenScratch(config)
    if (floats === 0 || runtime.threads > MAX_THREADS) return null
    return store.borrowScratch(floats)
  }

  /**
   * Logits [V] for the token after `token`, which is at `position` (from 0, below `sequence`), the first position
   * that is not in the cache. Adds `token` to the cache.
   */
  async step(token: number, position: number, predetermined: PredeterminedExperts): Promise<Float32Array> {
    this.compiled ??= await this.compile()
    this.token[0] = token
    this.position[0] = position
    writeAngles(this.rotation, position, this.angles)
    for (const [layer, experts] of this.choices) predetermined.choose(layer, token, position, experts)
    await this.compiled.binding.run()
    return this.logits
  }

  private async compile(): Promise<Compiled> {
    const { runtime, config, store, cache, memory } = this
    const quantized = store instanceof QuantizedStore ? store : null
    const parameters = new SymbolicParameters(parameterSpecs(config), 'float32')
    const program = withKernels(runtime.kernels, () => ({
      outputs: tokenProgram(config, parameters, quantized?.bits),
    }))
    const executable = await runtime.compile(program, { portsInside: this.inArena })
    const used = new Map(parameters.used.map(({ spec, expert, tensor }) => [inputNameOf(tensor), { spec, expert }]))
    const at = (name: string): PortMemory => {
      const parameter = used.get(name)
      if (parameter) return store.parameter(parameter.spec.name, parameter.expert)
      return (this.ports[name] ?? quantized?.range(name) ?? cache.rows(name, config.sequence)) as PortMemory
    }
    const { inputs, outputs } = executable.model
    const ports = Object.fromEntries([...inputs, ...outputs].map(({ name }) => [name, at(name)]))
    if (!this.inArena) return { executable, binding: executable.bind(ports) }
    const working = memory.take(workingFloats(config))
    const within = {
      arena: memory.arena,
      start: working.start * 4,
      bytes: working.count * 4,
      ...(quantized && { beside: quantized.beside }),
    }
    return { executable, binding: executable.bind(ports, within) }
  }

  release(): void {
    this.compiled?.binding.release()
    this.compiled?.executable.release()
    this.memory.release()
  }
}
