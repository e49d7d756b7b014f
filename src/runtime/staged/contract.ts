/**
 * Kernels: what runs outside ONNX Runtime, between the ONNX models of a staged program.
 *
 * A call of a kernel is cut into tasks that do not depend on each other. Every thread of the crew
 * prepares every call once, and then the threads take tasks until none is left; which thread runs a task
 * must not show in the result. A kernel is a file in kernels/ and a line in kernels/index.ts; the op that
 * emits it (`emitKernel`) says what it computes.
 *
 * @example
 * ```ts
 * /** y = −x, a quarter to each task. *\/
 * const negate: Kernel = {
 *   prepare({ inputs: [x], outputs: [y] }, { floats }) {
 *     const part = x.size / 4
 *     return {
 *       tasks: 4,
 *       run: (task) => {
 *         for (let i = task * part; i < (task + 1) * part; i++) floats[y.offset / 4 + i] = -floats[x.offset / 4 + i]
 *       },
 *     }
 *   },
 * }
 * ```
 */
import type { DType, Shape } from '../../graph/model.ts'
import type { AttributeValue } from '../../graph/tensor.ts'
import type { Dnnl } from '../onednn/dnnl.ts'

/** A tensor of a call, row-major. */
export interface KernelTensor {
  readonly dtype: DType
  readonly shape: Shape
  readonly size: number
  /** Where it lies in this process, in bytes. */
  readonly address: number
  /** Where it lies in the memory of the program, in bytes; −1 when it lies elsewhere. */
  readonly offset: number
}

export interface KernelCall {
  readonly type: string
  readonly attributes: Readonly<Record<string, AttributeValue>>
  readonly inputs: readonly KernelTensor[]
  readonly outputs: readonly KernelTensor[]
  /** Outputs that something is added to: what, are the last inputs, in this order. */
  readonly added: readonly number[]
}

/** Memory of one thread, for the length of one task. */
export interface Scratch {
  readonly address: number
  readonly offset: number
}

/** WASM functions on the program's memory; arguments are byte offsets and numbers (wasm/assembly/rows.ts and token.ts). */
export type RowFunctions = Readonly<Record<string, (...args: number[]) => void>>

/** What a kernel has on the thread that runs it. */
export interface KernelThread {
  readonly threads: number
  /** @throws RuntimeError when there is no oneDNN: its kernels are not offered then. */
  readonly dnnl: Dnnl
  readonly rows: RowFunctions
  /** The memory of the program. */
  readonly floats: Float32Array
  readonly integers: Int32Array
  readonly scratch: Scratch
}

export interface PreparedCall {
  readonly tasks: number
  run(task: number): void
}

export interface Kernel {
  /** Whose code does most of its work. */
  readonly provider: 'oneDNN' | 'WASM'
  /** Bytes of scratch memory that a task needs. */
  scratch?(call: KernelCall): number
  prepare(call: KernelCall, thread: KernelThread): PreparedCall
  /** Floating-point operations and bytes of memory traffic at least, for profiles. */
  work?(call: KernelCall): { readonly flops: number; readonly bytes: number }
}
