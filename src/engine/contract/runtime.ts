/**
 * The contract between programs and the engines that run them.
 *
 * Think of it in three steps: `compile` turns a program into an `Executable` (slow, once); `bind` binds
 * every input and output to memory (once for each set of buffers); `run` computes (microseconds of
 * overhead, any number of times). The memory of a port is an array, or a range of an arena of the runtime. No step
 * copies a tensor on the CPU, where the engine reads and writes both in place; a device copies arrays, and has ranges
 * in its own memory.
 *
 * Work that is enqueued (`Binding.enqueue`, arena kernels) is computed in the order of the calls. A CPU runtime has done
 * it when the call resolves. A runtime that *defers* has then only queued it: results are there after `synchronize`, or
 * when a `run`, a read of an arena, or anything else that gives results resolves. So a training step waits for a device once, at its end.
 *
 * @example
 * ```ts
 * const runtime = await createRuntime({ threads: 2 })
 * const executable = await runtime.compile({ outputs: { y: add(input('x', 'float32', [2]), 1) } })
 * const x = new Float32Array([1, 2]), y = new Float32Array(2)
 * const binding = executable.bind({ x, y })
 * await binding.run()                                         // y is now [2, 3]
 * binding.release(); executable.release(); await runtime.close()
 * ```
 */
import type { DType, Port } from '../../core/graph/model.ts'
import type { Program } from '../../core/graph/program.ts'
import type { StagedModel } from '../../core/graph/stages/contract.ts'
import type { KernelSet } from '../../core/graph/tensor.ts'
import type { Arena, ArenaRange } from './arena.ts'
import type { ArenaKernels } from './arena-kernels.ts'
import type { OrderLog } from './order-log.ts'
import type { Transfer } from './ranks.ts'
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

/** The typed array of a dtype. */
export type Buffer = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array

/** Memory of a port: an array of its dtype, or a range of an arena for types of 4 bytes (float32, int32). */
export type PortMemory = Buffer | ArenaRange

/**
 * Precision of matrix products: float32 throughout, bfloat16 factors with float32 sums, or f16 factors with float32 sums,
 * where activations between products are f16 in memory too. Gradients of a program in f16 need a scaled loss.
 */
export type Precision = 'float32' | 'bf16' | 'f16'

export interface RuntimeOptions {
  /** Threads for one run; default: the physical cores. */
  readonly threads?: number
  /** `cpu` is the only device. */
  readonly device?: 'cpu'
  /**
   * Precision of matrix products; `bf16` falls back to `float32`, with a notice, if it is not available. `f16` is for
   * devices.
   */
  readonly math?: Precision
  /** Record the time of every node; read it with {@link Executable.profile}. */
  readonly profile?: boolean
  /** Ranks with which programs exchange rows for experts, if it is more than one, and gradients; default: none. */
  readonly group?: GroupPlace | undefined
}

/** The ranks that share the experts of a layer: consecutive ones, this process among them. */
export interface GroupPlace {
  /** The first of them in the world. */
  readonly first: number
  /** This process among them. */
  readonly rank: number
  readonly size: number
  /** `Ranks.orders` of this process. */
  readonly orders: SharedArrayBuffer
}

export interface CompileOptions {
  /** Ports are in the program's own memory (`cut` with the same option). CPU only. */
  readonly portsInside?: boolean
}

export interface Runtime {
  readonly name: string
  /** Which kind of processor computes. */
  readonly device: 'cpu' | 'webgpu'
  /** Version of the engine's library. */
  readonly version: string
  readonly threads: number
  /** Kernels that programs may use: trace for them with `withKernels`. */
  readonly kernels: KernelSet
  /** The actual precision of matrix products. */
  readonly math: Precision
  /** The library of matrix products: `oneDNN 3.7.2`, or why ONNX Runtime computes them; the GPU and its driver. */
  readonly provider: string
  /** For users: how this runtime differs from the requested options. */
  readonly notice?: string
  /** Orders that kernels post to the ranks of the group; null without one. */
  readonly orderLog?: OrderLog | null
  /** Most bytes of an arena. */
  readonly maxArenaBytes: number
  /** Bytes that all arenas together can have, if that is known: the memory of the machine or of its container. */
  readonly memoryBytes?: number
  /** Whether results of enqueued work are there only after {@link synchronize}. */
  readonly defers: boolean
  /** @throws RuntimeError with the op and layer at fault if the program is invalid. */
  compile(program: Program, options?: CompileOptions): Promise<Executable>
  /** Resolves when all enqueued work is done, and its results are there. @throws RuntimeError that any of it caused */
  synchronize(): Promise<void>
  /**
   * An arena of at least `bytes`, filled with zeros; freed by garbage collection.
   * @throws UsageError if `bytes` is not from 0 to {@link maxArenaBytes}; RuntimeError if it is not available.
   */
  createArena(bytes: number): Arena
  /** Arena kernels with the runtime's number of threads; close them before the runtime. */
  createArenaKernels(): Promise<ArenaKernels>
  /** Releases all executables and threads. Idempotent. */
  close(): Promise<void>
}

/** Part of an arena. */
export interface ProgramMemory {
  readonly arena: Arena
  /** Byte offset in the arena. */
  readonly start: number
  readonly bytes: number
}

/** The ticket of an exchange that was not posted. */
export const NOT_POSTED = -1

/** An exchange with other ranks that is posted as soon as some outputs are complete, while the program goes on. */
export interface EarlyExchange {
  /** Names of the outputs. */
  readonly after: readonly string[]
  readonly channel: number
  readonly transfers: readonly Transfer[]
}

/** Exchanges with other ranks beside the runs of a program. */
export interface Exchanges {
  /** Exchanges that a run may post before it ends. */
  readonly early?: readonly EarlyExchange[]
  /** For each exchange that may still write inputs when a run begins: their names. */
  readonly arriving?: readonly (readonly string[])[]
}

export interface RunOptions {
  /** Whether to post the early exchanges. */
  readonly early?: boolean
  /**
   * Tickets of the exchanges of arriving inputs, in the order of `bind`. A run waits for each before it first reads
   * one of its inputs; `NOT_POSTED` (-1): there is nothing to wait for. Default: for none of them.
   */
  readonly arriving?: readonly number[]
}

export interface RunReport {
  /**
   * Tickets of the early exchanges, for `Ranks.completion`, in the order of `bind`; `NOT_POSTED` (-1) for those that were
   * not posted, such as those of outputs that the last step completes. A program without kernels, or in a runtime without
   * other ranks, posts none.
   */
  readonly tickets: readonly number[]
  /** Time that the run has waited for arriving inputs. */
  readonly waitedMs: number
}

export interface Executable {
  readonly model: {
    readonly inputs: readonly Port[]
    readonly outputs: readonly Port[]
    /** The stages of a staged program, in order. */
    readonly stages?: StagedModel['stages']
  }
  /** Memory for intermediate values and scratch, besides the ports; undefined if not known before a run. */
  readonly memoryBytes?: number
  /**
   * Binds every port of the program, by name, to an array of its dtype and exact length, or to a range of as many
   * numbers. An array may be in a SharedArrayBuffer, and an output may share the memory of an input (state updated in
   * place).
   * @param within Memory for the intermediate values of a staged program, instead of the runtime's: for
   * programs whose ports are in the same arena (`cut` with `portsInside`).
   * @throws RuntimeError naming the port if one is missing, unknown, or of another dtype or length.
   */
  bind(memory: Readonly<Record<string, PortMemory>>, within?: ProgramMemory, exchanges?: Exchanges): Binding
  /**
   * Node times since compilation or the last {@link resetProfile}, if the runtime was created with
   * `profile`; ends the recording. For ONNX Runtime, a node of kind `Run` has the time outside its nodes.
   */
  profile(): readonly NodeTime[]
  /** Excludes the runs so far from the profile; call it after the first, slower runs. */
  resetProfile(): void
  /** Steps of each thread in the last recorded run; after {@link profile} also the nodes of ONNX Runtime. */
  lastRun(): readonly StepEvent[]
  release(): void
}

export interface Binding {
  /** Whether a run can wait for arriving inputs. Otherwise they must be there when it begins. */
  readonly waits: boolean
  /**
   * Enqueues the computation: work that is enqueued later sees its results, and arrays have them after
   * `Runtime.synchronize`. On the CPU it is the same as {@link run}.
   */
  enqueue(options?: RunOptions): Promise<RunReport>
  /** Computes off the JavaScript thread; results are there when it resolves. @throws RuntimeError with the op and layer at fault */
  run(options?: RunOptions): Promise<RunReport>
  /** Runs on the calling thread: for programs of well under a millisecond. A device that defers refuses it. */
  runSync(): void
  release(): void
}
