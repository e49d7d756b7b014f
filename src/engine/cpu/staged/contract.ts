/**
 * The contract of op kernels, which run outside ONNX Runtime between the ONNX models of a staged program.
 *
 * A call of a kernel is cut into independent tasks. Every thread of the crew prepares every call once; in a
 * run, threads take tasks until no task is left. The result must not depend on which thread runs a task. A kernel
 * implements a declaration of src/core/graph/kernels, which defines what it computes, and is in the list of
 * kernels/table.ts.
 *
 * @example
 * ```ts
 * /** A quarter per task. *\/
 * const negate = implement(declared.negate, {
 *   provider: 'WASM',
 *   prepare({ inputs: { x }, outputs: { y } }, { floats }) {
 *     const part = x.size / 4
 *     return {
 *       tasks: 4,
 *       run: (task) => {
 *         for (let i = task * part; i < (task + 1) * part; i++) floats[y.offset / 4 + i] = -floats[x.offset / 4 + i]
 *       },
 *     }
 *   },
 * })
 * ```
 */
import type {
  AnyKernel,
  AttributesOf,
  InputsOf,
  OperandName,
  Operands,
  OutputsOf,
} from '../../../core/graph/kernels/declaration.ts'
import type { Shape } from '../../../core/graph/model.ts'
import type { Halves, StoredType } from '../../../core/graph/stages/contract.ts'
import type { GroupPlace } from '../../contract/runtime.ts'
import type { OrderRing } from '../../world/mpi/ring.ts'
import type { Primitives } from '../primitives/primitives.ts'
import type { OpFunctions } from '../wasm/module.ts'

/** A tensor of a call, row-major. Floats of operands that a kernel lists in `halves` may be bfloat16. */
export interface KernelTensor {
  readonly dtype: StoredType
  readonly shape: Shape
  readonly size: number
  /** Address in the memory of this process. */
  readonly address: number
  /**
   * Byte offset in the memory of the program, or in memory number `memory` of the thread; −1 if it is elsewhere. Only
   * operands that a kernel lists in `anywhere` may be in another memory than 0, the memory of the program.
   */
  readonly offset: number
  readonly memory: number
}

/** One use of a kernel, with its operands by name. */
export interface KernelCall<K extends AnyKernel = AnyKernel> {
  readonly kernel: string
  readonly attributes: AttributesOf<K>
  readonly inputs: Operands<InputsOf<K>, KernelTensor>
  readonly outputs: Operands<OutputsOf<K>, KernelTensor>
  /** Tensors that are added to results, by the name of the result. */
  readonly addends: { readonly [Name in OperandName<OutputsOf<K>>]?: KernelTensor }
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

/** A memory that kernels reach, and scratch memory in it for this thread. */
export interface KernelMemory {
  /** WASM functions on this memory. */
  readonly functions: OpFunctions
  readonly bytes: Uint8Array
  readonly floats: Float32Array
  /** Byte offset of scratch memory; null in a memory that is only read. */
  readonly scratch: number | null
}

/** Resources of a kernel on the thread that runs it. */
export interface KernelThread {
  readonly threads: number
  /** The ranks that share experts; null without other ranks. */
  readonly group: ExpertGroup | null
  readonly primitives: Primitives
  /** WASM functions on the memory of the program. */
  readonly functions: OpFunctions
  /** The memory of the program. */
  readonly floats: Float32Array
  readonly integers: Int32Array
  readonly scratch: Scratch
  /** All memories: the program's own, then the memories of operands that may be anywhere. */
  readonly memories: readonly KernelMemory[]
}

export interface PreparedCall {
  readonly tasks: number
  run(task: number): void
}

/** How this engine computes a kernel. */
export interface KernelCode<K extends AnyKernel = AnyKernel> {
  /** The code that does most of the work: the library of the primitives, or another. */
  readonly provider: 'primitives' | 'WASM' | 'MPI'
  /** Operands that may be bfloat16, with bf16 math. Default: no operands. */
  readonly halves?: Halves<OperandName<InputsOf<K>>, OperandName<OutputsOf<K>>>
  /** Inputs that may be in a memory of their own. */
  readonly anywhere?: readonly OperandName<InputsOf<K>>[]
  /** Bytes of scratch memory that a task needs in each memory of an operand that may be anywhere. */
  scratchBeside?(call: KernelCall<K>, threads: number): number
  /** Bytes of scratch memory that a task needs if `threads` threads share the tasks. */
  scratch?(call: KernelCall<K>, threads: number): number
  prepare(call: KernelCall<K>, thread: KernelThread): PreparedCall
  /** The work of a call, for profiles: floating-point operations, and a lower bound of bytes of memory traffic. */
  work?(call: KernelCall<K>): { readonly flops: number; readonly bytes: number }
}

export interface Kernel<K extends AnyKernel = AnyKernel> extends KernelCode<K> {
  readonly declaration: K
}

export const implement = <K extends AnyKernel>(declaration: K, code: KernelCode<K>): Kernel<K> => ({
  declaration,
  ...code,
})
