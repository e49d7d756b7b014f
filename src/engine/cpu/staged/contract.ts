/**
 * Op kernels, which run outside ONNX Runtime between the ONNX models of a staged program.
 *
 * A call of a kernel is cut into independent tasks. Every thread of the crew prepares every call once; in a
 * run, threads take tasks until none is left. The result must not depend on which thread runs a task. A kernel
 * is a file in kernels/ and a line in kernels/table.ts; the op that emits it (`emitKernel`) documents what it
 * computes.
 *
 * @example
 * ```ts
 * /** y = −x, a quarter per task. *\/
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
import type { Shape } from '../../../core/graph/model.ts'
import type { Halves, StoredType } from '../../../core/graph/stages/contract.ts'
import type { AttributeValue } from '../../../core/graph/tensor.ts'
import type { GroupPlace } from '../../contract/runtime.ts'
import type { OrderRing } from '../../world/mpi/ring.ts'
import type { Primitives } from '../primitives.ts'
import type { OpFunctions } from '../wasm/module.ts'

/** A tensor of a call, row-major. Floats of operands that a kernel lists in `halves` may be bfloat16. */
export interface KernelTensor {
  readonly dtype: StoredType
  readonly shape: Shape
  readonly size: number
  /** Address in this process. */
  readonly address: number
  /** Byte offset in the memory of the program; −1 if it is elsewhere. */
  readonly offset: number
}

export interface KernelCall {
  readonly type: string
  readonly attributes: Readonly<Record<string, AttributeValue>>
  readonly inputs: readonly KernelTensor[]
  readonly outputs: readonly KernelTensor[]
  /** Indices of outputs with an addend. The addends are the last inputs, in this order. */
  readonly added: readonly number[]
}

/** Memory of one thread, valid during one task. */
export interface Scratch {
  readonly address: number
  readonly offset: number
}

/** The ranks with which a kernel exchanges rows. */
export interface ExpertGroup extends Omit<GroupPlace, 'orders'> {
  /** Orders for the courier. `post` returns a ticket; `wait` sleeps until its transfers are done. */
  readonly ring: Pick<OrderRing, 'post' | 'wait'>
  readonly channel: number
}

/** Resources of a kernel on the thread that runs it. */
export interface KernelThread {
  readonly threads: number
  /** Null without other ranks. */
  readonly group: ExpertGroup | null
  readonly primitives: Primitives
  /** WASM functions on the memory of the program. */
  readonly functions: OpFunctions
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
  /** What does most of the work: the library of the primitives, or another. */
  readonly provider: 'primitives' | 'WASM' | 'MPI'
  /** Operands that may be bfloat16, with bf16 math. Default: none. */
  readonly halves?: Halves
  /** Bytes of scratch memory that a task needs, if so many threads share the tasks. */
  scratch?(call: KernelCall, threads: number): number
  prepare(call: KernelCall, thread: KernelThread): PreparedCall
  /** For profiles: floating-point operations, and a lower bound of bytes of memory traffic. */
  work?(call: KernelCall): { readonly flops: number; readonly bytes: number }
}
