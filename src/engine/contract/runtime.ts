/**
 * The contract between programs and the engines that run them.
 *
 * Think of it in three steps: `compile` turns a program into an `Executable` (slow, once); `bind` binds every input and
 * output to memory (once for each set of buffers); `run` computes (microseconds of overhead, any number of times). The
 * memory of a port is an array, or a range of an arena of the runtime. On the CPU no step copies a tensor, because the
 * engine reads and writes arrays and ranges in place. A device copies arrays, and has ranges in its own memory.
 *
 * Work that is enqueued (`Binding.enqueue`, arena kernels) is computed in the order of the calls. A CPU runtime has
 * done the work when the call resolves. A runtime that *defers* has then only queued it: results are there after
 * `synchronize`, or when a `run`, a read of an arena, or anything else that gives results resolves. So a training step
 * waits for a device once, at its end.
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
import type { DType, Origin, Port } from '../../core/graph/model.ts'
import type { Program } from '../../core/graph/program.ts'
import type { StagedModel } from '../../core/graph/stages/contract.ts'
import type { KernelSet } from '../../core/graph/tensor.ts'
import type { Arena, ArenaRange } from './arena.ts'
import type { ArenaKernels } from './arena-kernels.ts'
import type { OrderLog } from './order-log.ts'
import type { Transfer } from './ranks.ts'
import type { NodeTime, StepEvent } from './times.ts'

export { RuntimeError, TooManyRows } from './runtime-error.ts'

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

/** The memory of a port: an array of its dtype, or a range of an arena for types of 4 bytes (float32, int32). */
export type PortMemory = Buffer | ArenaRange

/**
 * Precision of matrix products: float32 throughout, bfloat16 factors with float32 sums, or f16 factors with float32
 * sums, where activations between products are f16 in memory too. Gradients of a program in f16 need a scaled loss.
 */
export type Precision = 'float32' | 'bf16' | 'f16'

export interface RuntimeOptions {
  /** Number of threads for one run; default: the number of physical cores. */
  readonly threads?: number
  /** The device; `cpu` is the only one. */
  readonly device?: 'cpu'
  /**
   * Precision of matrix products; `bf16` falls back to `float32`, with a notice, if it is not available. `f16` is for
   * devices.
   */
  readonly math?: Precision
  /** Whether to record the time of every node; read it with {@link Executable.profile}. */
  readonly profile?: boolean
  /** Ranks with which programs exchange gradients, and rows for experts if there are several; default: no ranks. */
  readonly group?: GroupPlace | undefined
}

/** The place of this process in its group: the consecutive ranks that share the experts of a layer. */
export interface GroupPlace {
  /** Rank in the world of the group's first rank. */
  readonly first: number
  /** Rank of this process in the group. */
  readonly rank: number
  readonly size: number
  /** `Ranks.orders` of this process. */
  readonly orders: SharedArrayBuffer
}

export interface CompileOptions {
  /** Whether ports are in the program's own memory (as in `cut` with the same option). Only on the CPU. */
  readonly portsInside?: boolean
}

export interface Runtime {
  readonly name: string
  /** The kind of processor that computes. */
  readonly device: 'cpu' | 'webgpu'
  /** Version of the engine's library. */
  readonly version: string
  readonly threads: number
  /** The kernels that programs may use; trace programs for them with `withKernels`. */
  readonly kernels: KernelSet
  /** Precision of matrix products, which may differ from the requested precision. */
  readonly math: Precision
  /**
   * The library of matrix products, such as `oneDNN 3.7.2`, or why ONNX Runtime computes them; the GPU and its driver.
   */
  readonly provider: string
  /** A message to users about how this runtime differs from the requested options. */
  readonly notice?: string
  /** The log of orders that kernels, or work of the host, post to the ranks of the group; null without a group. */
  readonly orderLog?: OrderLog | null
  /** Largest size of an arena, in bytes. */
  readonly maxArenaBytes: number
  /** Largest size of all arenas together, in bytes, if it is known: the memory of the machine or of its container. */
  readonly memoryBytes?: number
  /** Whether results of enqueued work are there only after {@link synchronize}. */
  readonly defers: boolean
  /** @throws RuntimeError with the op and layer at fault if the program is invalid. */
  compile(program: Program, options?: CompileOptions): Promise<Executable>
  /** `Executable.memoryBytes` of a program without compiling it; undefined if it is not known before a run. */
  bytesOf?(program: Program): number | undefined
  /** Resolves when all enqueued work is done, and its results are there. @throws RuntimeError that the work caused */
  synchronize(): Promise<void>
  /**
   * An arena of at least `bytes`, filled with zeros; its memory is freed by garbage collection.
   * @throws UsageError if `bytes` is not from 0 to {@link maxArenaBytes}; RuntimeError if the memory is not available.
   */
  createArena(bytes: number): Arena
  /** Arena kernels with the runtime's number of threads; close them before the runtime. */
  createArenaKernels(): Promise<ArenaKernels>
  /** Releases all executables and threads. Idempotent. */
  close(): Promise<void>
}

/** A part of an arena for the intermediate values of a program. */
export interface ProgramMemory {
  readonly arena: Arena
  /** Byte offset in the arena. */
  readonly start: number
  readonly bytes: number
  /** Scratch memory in other arenas, for kernels with operands there. */
  readonly beside?: readonly Omit<ProgramMemory, 'beside'>[]
}

/** The ticket of an exchange that was not posted. */
export const NOT_POSTED = -1

/** An exchange with other ranks that is posted as soon as some outputs are complete, while the program goes on. */
export interface EarlyExchange {
  /** Names of the outputs that must be complete. */
  readonly after: readonly string[]
  readonly channel: number
  /** Empty on a device, where the caller posts the exchange: `RunOptions.complete`. */
  readonly transfers: readonly Transfer[]
}

/** Exchanges with other ranks beside the runs of a program. */
export interface Exchanges {
  /** Exchanges that a run may post before it ends. */
  readonly early?: readonly EarlyExchange[]
  /** Names of the inputs of each exchange that may still write them when a run begins. */
  readonly arriving?: readonly (readonly string[])[]
}

export interface RunOptions {
  /** Whether to post the early exchanges. */
  readonly early?: boolean
  /**
   * On a device: called for each early exchange when the work that completes its outputs has been enqueued, and no later
   * work. Reads of arenas that are enqueued by the call see the outputs, and do not wait for the rest of the program.
   * @param exchange Index of the exchange, in the order of `bind`.
   */
  readonly complete?: (exchange: number) => void
  /**
   * Tickets of the exchanges of arriving inputs, in the order of `bind`. A run waits for an exchange before it first
   * reads one of the inputs. `NOT_POSTED` (-1) means that there is nothing to wait for. Default: there are no such
   * exchanges.
   */
  readonly arriving?: readonly number[]
}

export interface RunReport {
  /**
   * Tickets of the early exchanges, for `Ranks.completion`, in the order of `bind`; `NOT_POSTED` (-1) for an exchange
   * that was not posted, for example because the last step completes its outputs. A program without kernels, or in a
   * runtime without other ranks, posts no exchanges.
   */
  readonly tickets: readonly number[]
  /** Time for which the run has waited for arriving inputs, in ms. */
  readonly waitedMs: number
}

export interface Executable {
  readonly model: {
    readonly inputs: readonly Port[]
    readonly outputs: readonly Port[]
    /** The stages of a staged program, in order. */
    readonly stages?: StagedModel['stages']
    /** Work of the host between the dispatches of a device, in order. */
    readonly hostSteps?: readonly {
      readonly type: string
      readonly origin: Origin
      /** Bytes of a row of the first operand. */
      readonly rowBytes: number
    }[]
  }
  /**
   * Bytes for intermediate values and scratch, besides the ports; undefined if the number is not known before a run.
   */
  readonly memoryBytes?: number
  /**
   * Binds every port of the program, by name, to an array of its dtype and exact length, or to a range of as many
   * numbers. An array may be in a SharedArrayBuffer, and an output may share the memory of an input (state updated in
   * place).
   * @param within Memory for the intermediate values of a staged program, instead of the runtime's own. It is for
   * programs whose ports are in the same arena (`cut` with `portsInside`).
   * @throws RuntimeError naming the port if one is missing, unknown, or of another dtype or length.
   */
  bind(memory: Readonly<Record<string, PortMemory>>, within?: ProgramMemory, exchanges?: Exchanges): Binding
  /**
   * Node times since compilation or the last {@link resetProfile}, if the runtime was created with `profile`. The
   * call ends the recording. For ONNX Runtime, a node of kind `Run` has the time outside its nodes.
   */
  profile(): readonly NodeTime[]
  /** Excludes the runs so far from the profile; call it after the first, slower runs. */
  resetProfile(): void
  /** Steps of each thread in the last recorded run; after {@link profile} also the nodes of ONNX Runtime. */
  lastRun(): readonly StepEvent[]
  release(): void
}

export interface Binding {
  /**
   * Whether the runtime has replaced the memory of intermediate values, since a later program needs more. Binding the
   * program again, and releasing this binding, frees the old memory.
   */
  readonly isOutgrown?: boolean
  /** Whether a run can wait for arriving inputs. Otherwise they must have arrived when it begins. */
  readonly waits: boolean
  /**
   * Enqueues the computation: work that is enqueued later sees its results, and arrays have them after
   * `Runtime.synchronize`. On the CPU it is the same as {@link run}.
   */
  enqueue(options?: RunOptions): Promise<RunReport>
  /**
   * Computes off the JavaScript thread; results are there when it resolves.
   * @throws RuntimeError with the op and layer at fault; TooManyRows if the run can continue with more room
   */
  run(options?: RunOptions): Promise<RunReport>
  /**
   * Continues the last run of `stopped`, which has thrown `TooManyRows`, from the stage at which it stopped. Its program
   * must be the same but for more room for rows, in that stage and in later ones, and be bound to the same ports. The
   * values that are still needed have been copied when the call returns, so `stopped` may be released then. Only
   * programs that exchange rows with other ranks have it.
   * @throws RuntimeError as {@link run}
   */
  continueRun?(stopped: Binding, options?: RunOptions): Promise<RunReport>
  /** Runs on the calling thread, which suits programs of well under a millisecond. A device that defers refuses it. */
  runSync(): void
  release(): void
}
