/** Messages between the JavaScript thread and the crew. A program is sent as a list of steps with addresses. */
import type { SharedMemory } from '../../contract/arena.ts'
import type { GroupPlace, Precision } from '../../contract/runtime.ts'
import type { Transfer } from '../../world/mpi/orders.ts'
import type { KernelCall, Scratch } from './contract.ts'

/** A call of OrtApi.Run, argument by argument. */
export interface OnnxStep {
  readonly kind: 'onnx'
  readonly args: readonly number[]
  /** Whether the stage computes on one thread and takes so little time that other threads need not sleep. */
  readonly alone: boolean
}

export interface KernelStep {
  readonly kind: 'kernel'
  readonly call: KernelCall
}

export type Step = OnnxStep | KernelStep

/** An order to post when step `before` begins. */
export interface EarlyOrder {
  readonly before: number
  readonly channel: number
  readonly transfers: readonly Transfer[]
}

export interface Script {
  readonly steps: readonly Step[]
  readonly early: readonly EarlyOrder[]
  /** Tickets of the early orders that have been posted, Float64. */
  readonly tickets: SharedArrayBuffer
  /** The step that first reads one of the inputs of each exchange of arriving inputs. */
  readonly arriving: readonly number[]
  /** Milliseconds that a run has waited for arriving inputs, then the tickets of their exchanges, Float64. */
  readonly arrivals: SharedArrayBuffer
  readonly memory: SharedMemory
  /** Memories of operands that may be anywhere; `scratch` is the byte offset of the scratch memory of each thread. */
  readonly beside: readonly { readonly memory: SharedMemory; readonly scratch: readonly number[] | null }[]
  /** Constants, which are copied into the memory before each run. */
  readonly constants: readonly { readonly offset: number; readonly bytes: Uint8Array }[]
  /** Scratch memory of each thread. */
  readonly scratch: readonly Scratch[]
  /** Begin and end of each step on each thread in the last run, [threads, steps, 2], ms since the epoch. */
  readonly times: SharedArrayBuffer
}

export interface CrewData {
  readonly thread: number
  readonly threads: number
  readonly control: SharedArrayBuffer
  /** Address of OrtApi.Run. */
  readonly ortRun: number
  /** Path of oneDNN; null without it. */
  readonly dnnl: string | null
  readonly math: Precision
  readonly group: GroupPlace | null
  /** Memory of the log of orders that kernels post for the group; null without a group. */
  readonly orderLog: SharedArrayBuffer | null
  /** The compiled WASM module. */
  readonly wasm: unknown
}

export type Order =
  | { readonly kind: 'open'; readonly program: number; readonly script: Script }
  /** `from` is the step at which the run begins: 0, unless it continues the run of another program. */
  | { readonly kind: 'run'; readonly program: number; readonly early: boolean; readonly from: number }
  /** `frees` is whether garbage is collected at once, since no other program uses the memory. */
  | { readonly kind: 'close'; readonly program: number; readonly frees: boolean }
  /** The threads get no other order until another runtime uses them. */
  | { readonly kind: 'rest' }

/** The failure of a run at `step`: a status of ONNX Runtime, rows without room (`TooManyRows`), or an exception. */
export type Failure =
  | { readonly kind: 'status'; readonly step: number; readonly status: number }
  | { readonly kind: 'rows'; readonly step: number; readonly rows: number; readonly room: number }
  | { readonly kind: 'exception'; readonly step: number; readonly message: string }

/** A message from a thread. */
export type Report = { readonly kind: 'ready' } | { readonly kind: 'done' } | Failure
