/**
 * The contract between programs and the engines that run them.
 *
 * Think of it in three steps: `compile` turns a model into an `Executable` (slow, once); `bind` ties
 * every input and output to memory (once for each set of buffers); `run` computes (microseconds of
 * overhead, as often as you like). No step copies a tensor: the engine reads and writes the bound
 * arrays in place.
 *
 * @example
 * ```ts
 * const runtime = await createRuntime({ threads: 2 })
 * const executable = await runtime.compile(model)            // y = x + 1
 * const x = new Float32Array([1, 2]), y = new Float32Array(2)
 * const binding = executable.bind({ x, y })
 * await binding.run()                                         // y is now [2, 3]
 * binding.release(); executable.release(); await runtime.close()
 * ```
 */
import type { DType, Model, Port } from '../graph/model.ts'
import type { StagedModel } from '../graph/stages/contract.ts'
import type { KernelSet } from '../graph/tensor.ts'
import type { Arena } from './arena.ts'
import type { ArenaKernels } from './arena-kernels.ts'
import type { NodeTime, StepEvent } from './times.ts'

export { RuntimeError } from './runtime-error.ts'

/** The typed array of each dtype. */
export const typedArrays = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
} as const satisfies Record<DType, unknown>

/** Memory of a port: the typed array of its dtype. */
export type Buffer = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array

/** Precision of matrix products: float32 throughout, or bfloat16 factors with float32 sums. */
export type Precision = 'float32' | 'bf16'

export interface RuntimeOptions {
  /** Threads for one run; default: the physical cores. */
  readonly threads?: number
  /** `cpu` is the only device so far. */
  readonly device?: 'cpu'
  /** Precision of matrix products; `bf16` falls back to `float32`, with a notice, where it cannot be had. */
  readonly math?: Precision
  /** Record the time of every node; read it with {@link Executable.profile}. */
  readonly profile?: boolean
}

export interface Runtime {
  readonly name: string
  /** Version of the engine's library. */
  readonly version: string
  readonly threads: number
  /** Kernels that programs may use: trace for them with `withKernels`. */
  readonly kernels: KernelSet
  /** The precision that matrix products really have. */
  readonly math: Precision
  /** What runs kernels, e.g. `oneDNN 3.7.2`; or why nothing does. */
  readonly provider: string
  /** What a user should know of how this runtime differs from what was asked. */
  readonly notice?: string
  /** @throws RuntimeError with the op and layer at fault when the model is invalid. */
  compile(model: Model | StagedModel): Promise<Executable>
  /**
   * An arena of at least `bytes`, zero; it lives as long as somebody refers to it.
   * @throws UsageError when `bytes` is not from 0 to `MAX_ARENA_BYTES`; RuntimeError when there is not as much memory
   */
  createArena(bytes: number): Arena
  /** Kernels on the runtime's number of threads; close them before the runtime. */
  createArenaKernels(): Promise<ArenaKernels>
  /** Releases everything that the runtime still holds. Idempotent. */
  close(): Promise<void>
}

/** Part of an arena. */
export interface ProgramMemory {
  readonly arena: Arena
  /** The first byte, and how many there are. */
  readonly start: number
  readonly bytes: number
}

export interface Executable {
  readonly model: { readonly inputs: readonly Port[]; readonly outputs: readonly Port[] }
  /** Memory of values and of threads that a run takes besides its ports; undefined when it is not known beforehand. */
  readonly memoryBytes?: number
  /**
   * Ties every port of the model, by name, to an array of its dtype and exact length. Arrays may lie
   * in a SharedArrayBuffer, and an output may share the memory of an input (state updated in place).
   * @param within Where a staged program keeps what it computes on its way, instead of memory of the runtime:
   * for programs whose ports lie in the same arena (`cut` with `portsInside`).
   * @throws RuntimeError naming the port when one is missing, unknown, of another dtype or length.
   */
  bind(buffers: Readonly<Record<string, Buffer>>, within?: ProgramMemory): Binding
  /**
   * Node times since compilation or the last {@link resetProfile}, when the runtime was created with
   * `profile`; ends the recording. Of ONNX Runtime a node of kind `Run` is what its nodes do not account for.
   */
  profile(): readonly NodeTime[]
  /** Runs so far do not count in the profile: the first ones are not like the others. */
  resetProfile(): void
  /** What each thread did in the last run, when recorded; with the nodes of ONNX Runtime after {@link profile}. */
  lastRun(): readonly StepEvent[]
  release(): void
}

export interface Binding {
  /** Runs off the JavaScript thread. @throws RuntimeError with the op and layer at fault. */
  run(): Promise<void>
  /** Runs on the calling thread: for programs of well under a millisecond. */
  runSync(): void
  release(): void
}
