/** What the JavaScript thread tells the crew: programs as lists of steps with addresses filled in. */
import type { SharedMemory } from '../arena.ts'
import type { Precision } from '../contract.ts'
import type { KernelCall, Scratch } from './contract.ts'

/** A call of OrtApi.Run, argument by argument. */
export interface OnnxStep {
  readonly kind: 'onnx'
  readonly args: readonly number[]
}

export interface KernelStep {
  readonly kind: 'kernel'
  readonly call: KernelCall
}

export type Step = OnnxStep | KernelStep

export interface Script {
  readonly steps: readonly Step[]
  readonly memory: SharedMemory
  /** Copied into the memory before each run. */
  readonly constants: readonly { readonly offset: number; readonly bytes: Uint8Array }[]
  /** Of each thread. */
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
  /** Path of oneDNN, when it is used. */
  readonly dnnl: string | null
  readonly math: Precision
  /** The compiled WASM module. */
  readonly wasm: unknown
}

export type Order =
  | { readonly kind: 'open'; readonly program: number; readonly script: Script }
  | { readonly kind: 'run'; readonly program: number }
  | { readonly kind: 'close'; readonly program: number }

/** Why a run ended early: a status of ONNX Runtime, or an exception; `step` is where. */
export type Failure =
  | { readonly kind: 'status'; readonly step: number; readonly status: number }
  | { readonly kind: 'exception'; readonly step: number; readonly message: string }

/** What a thread says. */
export type Report = { readonly kind: 'ready' } | { readonly kind: 'done' } | Failure
