/**
 * Decodes one token at a time with a single program (src/core/model/token/token.ts) and a key-value cache. Kernels read
 * the weights of the chosen experts in place. On the CPU, cache and working memory are in the arena of the parameters if
 * there is one and no other text uses its scratch memory. Otherwise they have an arena of their own: then kernels reach
 * matrices and tables in the arenas of the parameters, and vectors, such as norms, are copied.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import { withKernels } from '../../../core/graph/tensor.ts'
import { attentionColumns, headWidthOf, type ModelConfig } from '../../../core/model/config.ts'
import {
  activatedExperts,
  isSparse,
  type ParameterSpec,
  parameterSpecs,
  SymbolicParameters,
} from '../../../core/model/parameters.ts'
import { type Rotation, rotationOf, writeAngles } from '../../../core/model/rotary.ts'
import { hasRouterWeights } from '../../../core/model/routing/routers.ts'
import { equalGates, routeName, tokenProgram } from '../../../core/model/token/token.ts'
import { choicesName } from '../../../core/model/transformer.ts'
import { type ArenaRange, floatsOf, MAX_ARENA_BYTES } from '../../../engine/contract/arena.ts'
import type { Binding, Buffer, Executable, PortMemory, Runtime } from '../../../engine/contract/runtime.ts'
import { OutOfMemory } from '../../../engine/contract/runtime-error.ts'
import { Bank, BESIDE_BYTES, type BorrowedScratch, paddedFloats } from '../../../train/step/bank.ts'
import { inputNameOf, type ModelStore } from '../../../train/step/model-store.ts'
import type { RouterRows } from '../collected-routes.ts'
import { QuantizedStore } from '../quantized/quantized-store.ts'
import type { KeyValueCache } from './key-value-cache.ts'
import type { PredeterminedExperts } from './predetermined-experts.ts'

/** Number of threads for which a store reserves scratch memory. */
const USUAL_THREADS = 128
/** A store reserves scratch memory of at most this size. */
const MAX_IN_STORE_BYTES = MAX_ARENA_BYTES / 4

/** Floats for all intermediate rows of a token, scratch memory of each thread, and small inputs. */
function workingFloats(config: ModelConfig, threads: number): number {
  const { width, heads, vocabulary, sequence, hidden, moe } = config
  const { queries, keys } = attentionColumns(config)
  const rows = moe ? activatedExperts(moe) * moe.hidden + moe.experts + moe.sharedHidden : 0
  // The scratch memory of all threads holds scores of their heads, of which a thread has at least one, and of a router.
  const scratch =
    (2 * heads + threads) * (sequence + 2 * headWidthOf(config) + 64) + threads * (2 * (moe?.experts ?? 0) + 1024)
  // Products with quantized weights keep a row, and the row rounded, for each thread.
  const widest = widestRow(config)
  const rounded = threads * (2 * widest + 1024)
  return paddedFloats(rounded + 32 * (5 * width + queries + 2 * keys + hidden + rows + 64) + 2 * vocabulary + scratch)
}

/** Floats of the widest row that is multiplied with a matrix. */
const widestRow = (config: ModelConfig): number => {
  const { width, hidden, moe } = config
  return Math.max(width, attentionColumns(config).queries, hidden, moe?.hidden ?? 0, moe?.sharedHidden ?? 0)
}

/** Whether a token can be decoded by itself: not with experts in attention, or a router or a layer of the user's own. */
const isDecodable = ({ moe, layer }: ModelConfig): boolean =>
  layer === null && (moe === null || (moe.attention === 'none' && moe.router !== 'own'))

/** Memory of a {@link TokenDecoder}, in floats. */
function memoryFloats(config: ModelConfig, threads: number): number {
  const { layers, sequence, vocabulary, moe } = config
  const choices = moe ? 2 * layers * paddedFloats(activatedExperts(moe)) : 0
  const caches = 2 * layers * paddedFloats(sequence * attentionColumns(config).keys)
  const small = paddedFloats(vocabulary) + 4 * paddedFloats(headWidthOf(config)) + choices
  return workingFloats(config, threads) + caches + small
}

/**
 * Scratch memory that a store reserves for the {@link TokenDecoder}s of some texts, in floats; 0 if the model cannot be
 * decoded token by token. Decoders for which it is too small, such as those of very long contexts, allocate memory.
 */
export function scratchOfTexts(config: ModelConfig, texts: number): number {
  if (!isDecodable(config)) return 0
  const floats = memoryFloats(config, USUAL_THREADS)
  return Math.max(paddedFloats(1), Math.min(texts, Math.floor(MAX_IN_STORE_BYTES / (4 * floats))) * floats)
}

/** Scratch memory that a store reserves for one text, in floats. */
export const tokenScratch = (config: ModelConfig): number => scratchOfTexts(config, 1)

/** Memory of the {@link TokenDecoder} of a text in an arena of its own, in floats. */
export const memoryOfContext = (config: ModelConfig, threads: number): number =>
  memoryFloats(config, threads) +
  parameterSpecs(config)
    .filter(isCopied)
    .reduce((sum, { shape }) => sum + paddedFloats(sizeOf(shape)), 0)

/** The parameters that are copied into the memory of a program: kernels reach only matrices and tables elsewhere. */
const isCopied = ({ shape }: ParameterSpec): boolean => shape.length === 1

/** Memory in an arena of its own; null if it is larger than an arena or the machine has too little. */
function ownMemory(runtime: Runtime, config: ModelConfig): BorrowedScratch | null {
  const { threads, maxArenaBytes } = runtime
  // Rows of x and of results of a product, of which the longest are those of the head.
  const row = widestRow(config) + Math.max(widestRow(config), Math.ceil(config.vocabulary / threads)) + 1024
  if (8 * row * threads > BESIDE_BYTES) return null
  const floats = memoryOfContext(config, threads)
  if (4 * floats > maxArenaBytes) return null
  try {
    const empty = { parameters: 0, gradients: 0, gradientRegions: 0, moments: 0, momentRegions: 0, beside: 0 }
    const bank = new Bank(runtime, { ...empty, scratch: floats })
    const memory = bank.borrow(floats)
    return memory && { ...memory, release: () => bank.arena.release() }
  } catch (error) {
    if (error instanceof OutOfMemory) return null
    throw error
  }
}

interface Compiled {
  readonly executable: Executable
  /** The parameters that are inputs, by name. */
  readonly used: ReadonlyMap<string, { readonly spec: ParameterSpec; readonly expert: number | null }>
}

/** The program of a token, which the decoders of several texts share. It is compiled when the first of them needs it. */
export class TokenProgram {
  readonly runtime: Runtime
  readonly config: ModelConfig
  readonly store: ModelStore
  /** Whether the program has the choices of routers as outputs. */
  readonly routes: boolean
  private compiling: Promise<Compiled> | undefined
  private executable: Executable | undefined

  constructor(runtime: Runtime, config: ModelConfig, store: ModelStore, routes = false) {
    this.runtime = runtime
    this.config = config
    this.store = store
    this.routes = routes && config.moe !== null
  }

  /** Whether kernels reach the arena of the program, and matrices and tables in the arenas of the parameters. */
  get inArena(): boolean {
    return this.runtime.device === 'cpu'
  }

  compiled(): Promise<Compiled> {
    this.compiling ??= this.compile()
    return this.compiling
  }

  private async compile(): Promise<Compiled> {
    const { runtime, config, store, inArena, routes } = this
    const bits = store instanceof QuantizedStore ? store.bits : undefined
    const parameters = new SymbolicParameters(parameterSpecs(config), 'float32')
    const program = withKernels(runtime.kernels, () => ({ outputs: tokenProgram(config, parameters, bits, routes) }))
    const executable = await runtime.compile(program, { portsInside: inArena })
    this.executable = executable
    const used = parameters.used.map(({ spec, expert, tensor }) => [inputNameOf(tensor), { spec, expert }] as const)
    return { executable, used: new Map(used) }
  }

  /** Releases the program; its decoders must have been released. */
  release(): void {
    this.executable?.release()
  }
}

/** The choices of routers in a pass, and the row of a token in it. */
interface TokenDetails {
  readonly routers: readonly RouterRows[]
  readonly length: number
  readonly row: number
}

export class TokenDecoder {
  private readonly program: TokenProgram
  private readonly memory: BorrowedScratch
  private readonly rotation: Rotation
  private readonly angles: { readonly cos: Float32Array; readonly sin: Float32Array }
  private readonly token: Int32Array
  private readonly position: Int32Array
  private readonly logits: Float32Array
  /** Experts chosen by routers without weights, by layer. */
  private readonly choices = new Map<number, Int32Array>()
  private readonly details: TokenDetails
  private readonly ports: Readonly<Record<string, Buffer>>
  private readonly cache: KeyValueCache
  private binding: Binding | undefined

  /**
   * @param memory Memory of {@link tokenScratch} floats, from which the cache has already taken its tables.
   */
  constructor(program: TokenProgram, cache: KeyValueCache, memory: BorrowedScratch) {
    const { config, inArena } = program
    this.program = program
    this.cache = cache
    this.memory = memory
    this.rotation = rotationOf(config)
    const half = this.rotation.frequencies.length
    // On the CPU kernels reach the arena only; a device gets arrays as inputs.
    const floats = (count: number): Float32Array => (inArena ? floatsOf(memory.take(count)) : new Float32Array(count))
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
    const routers: RouterRows[] = []
    for (let layer = 0; layer < config.layers; layer++) {
      const { moe } = config
      if (!moe || !isSparse(config, layer)) continue
      const { experts, prototypes } = moe
      const router = { layer, module: 'ffn', experts, prototypes } as const
      if (!hasRouterWeights(moe)) {
        const expert_TK = integers(activatedExperts(moe))
        this.choices.set(layer, expert_TK)
        ports[choicesName(layer)] = expert_TK
        routers.push({ ...router, expert_TK, gate_TK: equalGates(moe) })
      } else if (program.routes) {
        const [expert_TK, gate_TK] = [integers(activatedExperts(moe)), floats(activatedExperts(moe))]
        ports[routeName(layer, 'experts')] = expert_TK
        ports[routeName(layer, 'gates')] = gate_TK
        routers.push({ ...router, expert_TK, gate_TK })
      }
    }
    this.details = { routers, length: 1, row: 0 }
    this.ports = ports
  }

  /** Finds memory for a decoder and its cache; null if there is none. */
  static borrow(runtime: Runtime, config: ModelConfig, store: ModelStore): BorrowedScratch | null {
    if (!isDecodable(config)) return null
    const { threads } = runtime
    const floats = memoryFloats(config, Math.max(threads, USUAL_THREADS))
    const inStore = store.borrowScratch(floats)
    if (inStore || runtime.device !== 'cpu' || store.beside.length === 0) return inStore
    return ownMemory(runtime, config)
  }

  /**
   * Logits [V] for the token after `token`, which is at `position` (from 0, below `sequence`), the first position
   * that is not in the cache. Adds `token` to the cache.
   */
  async step(token: number, position: number, predetermined: PredeterminedExperts): Promise<Float32Array> {
    this.binding ??= this.bind(await this.program.compiled())
    this.token[0] = token
    this.position[0] = position
    writeAngles(this.rotation, position, this.angles)
    for (const [layer, experts] of this.choices) predetermined.choose(layer, token, position, experts)
    await this.binding.run()
    return this.logits
  }

  /** The choices of routers for the last token, if the program has them. */
  detailsAt(_position: number): TokenDetails {
    return this.details
  }

  private bind({ executable, used }: Compiled): Binding {
    const { program, cache, memory } = this
    const { runtime, config, store, inArena } = program
    const quantized = store instanceof QuantizedStore ? store : null
    const at = (name: string): PortMemory => {
      const parameter = used.get(name)
      if (parameter) return this.reachable(parameter.spec, store.parameter(parameter.spec.name, parameter.expert))
      return (this.ports[name] ?? quantized?.range(name) ?? cache.rows(name, config.sequence)) as PortMemory
    }
    const { inputs, outputs } = executable.model
    const ports = Object.fromEntries([...inputs, ...outputs].map(({ name }) => [name, at(name)]))
    if (!inArena) return executable.bind(ports)
    const working = memory.take(workingFloats(config, runtime.threads))
    const within = {
      arena: memory.arena,
      start: working.start * 4,
      bytes: working.count * 4,
      beside: store.beside.filter(({ arena }) => arena !== memory.arena),
    }
    return executable.bind(ports, within)
  }

  /** A parameter where kernels reach it. */
  private reachable(spec: ParameterSpec, range: ArenaRange): ArenaRange {
    const { memory } = this
    if (!this.program.inArena || range.arena === memory.arena || !isCopied(spec)) return range
    const copy = memory.take(range.count)
    floatsOf(copy).set(floatsOf(range))
    return copy
  }

  release(): void {
    this.binding?.release()
    this.memory.release()
  }
}
