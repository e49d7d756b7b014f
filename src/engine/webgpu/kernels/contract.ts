/**
 * Kernels of the WebGPU device.
 *
 * Think of a kernel as a function from the operands of a call to a list of *dispatches*, each a WGSL program over some
 * of them. It never sees a buffer: an operand stands for memory, which the executable binds. All operands are bound
 * `read_write`, because WebGPU refuses a buffer that is bound both ways in one dispatch, and programs keep many values
 * in one buffer. Two operands in the same memory (a sum written over its addend) become one binding, so a kernel names
 * its arrays by `names`, and must read an element before it writes it.
 *
 * Numbers take 4 bytes: float32 is `f32`; int32, int64 and bool are `i32`. With `math: f16` the floats of operands that
 * a kernel lists in `halves` may take 2 bytes: their dtype is then `float16`, `f16` in WGSL. A kernel computes in
 * float32 whatever the memory holds (`kernels/memory.ts`). No result depends on the order in which workgroups run:
 * there are no atomics.
 *
 * @example
 * ```ts
 * export const scale = implement(declared.scale, {
 *   lower: ({ inputs: { x, factor }, outputs: { y } }) => [
 *     dispatchOf({
 *       name: 'scale',
 *       operands: { x, factor, y },
 *       workgroups: gridOf(x.size),
 *       code: ({ x, factor, y }) => `
 * ${linearMain(x.size)} {
 *   ${y}[index] = ${x}[index]${factor && ` * ${factor}[0]`};
 * }`,
 *     }),
 *   ],
 * })
 * ```
 */
import type {
  AnyKernel,
  Attributes,
  AttributesOf,
  OperandName,
  Operands,
} from '../../../core/graph/kernels/declaration.ts'
import type { DType, Shape } from '../../../core/graph/model.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { Halves } from '../../../core/graph/stages/contract.ts'
import type { Transfer } from '../../contract/ranks.ts'

/** Numbers in memory: a float32 value of a program may be kept as `float16` (`program/storage.ts`). */
export type MemoryType = DType | 'float16'

/**
 * A tensor in memory, row-major. Dispatches refer to the object itself: another object is other memory, even if it is
 * equal.
 */
export interface Operand {
  readonly dtype: MemoryType
  readonly shape: Shape
  readonly size: number
}

export const operandOf = (dtype: MemoryType, shape: Shape): Operand => ({ dtype, shape, size: sizeOf(shape) })

/** Memory that holds values between the dispatches of a call only. */
export const scratch = (dtype: MemoryType, shape: Shape): Operand => operandOf(dtype, shape)

/** Names of the operands of a kernel of the graph, or of an operator of ONNX. */
export type Signature = Pick<AnyKernel, 'name' | 'inputs' | 'outputs'>

type InputOf<S extends Signature> = S['inputs'][number]
type OutputOf<S extends Signature> = S['outputs'][number]

/** One use of a kernel, with its operands by name. */
export interface KernelCall<S extends Signature = Signature> {
  /** Attributes of the call; a kernel declares them, an operator of ONNX does not. */
  readonly attributes: S extends AnyKernel ? AttributesOf<S> : Attributes
  readonly inputs: Operands<InputOf<S>, Operand>
  readonly outputs: Operands<OutputOf<S>, Operand>
  /** Tensors to add to outputs. */
  readonly addends: ByOutput<S, Operand>
  /** Factors by which outputs are multiplied before their addends are added. Default: 1. */
  readonly scales: ByOutput<S, number>
  /** Whether tiled products round their factors to f16, where the factors are not stored as f16 already. */
  readonly rounds: boolean
}

/** Any call: each operand may be absent. */
export type AnyCall = KernelCall<{
  readonly name: string
  readonly inputs: readonly `${string}?`[]
  readonly outputs: readonly `${string}?`[]
}>

type ByOutput<S extends Signature, T> = { readonly [Name in OperandName<OutputOf<S>>]?: T | undefined }

/**
 * WGSL types of the elements of a binding. Vectors need operands whose size is a multiple of the size of the vector.
 */
export type ElementType =
  | 'f32'
  | 'i32'
  | 'u32'
  | 'vec2<f32>'
  | 'vec4<f32>'
  | 'vec2<i32>'
  | 'vec4<i32>'
  | 'f16'
  | 'vec4<f16>'

/** An operand as a dispatch sees it. */
export interface Use {
  readonly of: Operand
  /** Type of the elements; by default it follows from the dtype. */
  readonly as?: ElementType
}

export type Workgroups = readonly [x: number, y: number, z: number]

export interface Dispatch {
  /** Name for profiles and error messages. */
  readonly name: string
  readonly operands: readonly Use[]
  /**
   * WGSL with the entry point `main`, without the declarations of the operands. The code is equal for equal shapes, so
   * that layers share a pipeline.
   * @param names Names of the arrays, in the order of `operands`.
   */
  readonly code: (names: readonly string[]) => string
  /**
   * Number of workgroups to start, or an operand with three u32 numbers at its start that an earlier dispatch has
   * written.
   */
  readonly workgroups: Workgroups | { readonly indirect: Operand }
  /**
   * Set if the dispatch reads only inputs and writes only scratch memory, all of it: calls with the same code and
   * inputs then compute it once.
   */
  readonly shared?: true
}

/** Work of the host between dispatches: it exchanges numbers of the device with other ranks. */
export interface HostWork {
  /** The operands that {@link run} names. */
  readonly operands: readonly Operand[]
  /** Set if the work may end the run with `TooManyRows`. */
  readonly mayStop?: true
  run(memory: HostMemory): Promise<void>
}

/** Memory of the device as {@link HostWork} sees it, and the ranks that share the experts. */
export interface HostMemory {
  readonly group: DeviceGroup
  /** The numbers of an operand of integers, after all dispatches before. They are read once in a run. */
  integers(of: Operand): Promise<readonly number[]>
  setIntegers(of: Operand, values: readonly number[]): void
  /** The first `count` words of 4 bytes of an operand, after all dispatches before. */
  words(of: Operand, count: number): Promise<Float32Array>
  /** Writes the first words of an operand. */
  setWords(of: Operand, words: Float32Array): void
  /** Exchanges with other ranks of the group. @param received The array that others write */
  exchange(transfers: readonly Transfer[], received: Float32Array): Promise<void>
  /** Begins to exchange. @param ticket The operand by which {@link arrived} finds the received array */
  expect(ticket: Operand, transfers: readonly Transfer[], received: Float32Array): void
  /** Waits for the array of a ticket. */
  arrived(ticket: Operand): Promise<Float32Array>
}

/** The ranks that share the experts of a layer with this one. */
export interface DeviceGroup {
  /** Rank in the world of the group's first rank. */
  readonly first: number
  /** Rank of this process in the group. */
  readonly rank: number
  readonly size: number
  /** Sends and receives, on the channel of rows for experts. */
  exchange(transfers: readonly Transfer[]): Promise<void>
}

/**
 * Features of a device beyond the base, which is 8 storage buffers, 256 invocations and 16 KiB of memory for a
 * workgroup.
 */
export interface DeviceFeatures {
  readonly f16: boolean
}

interface Implementation<S extends Signature> {
  /** Operands in the dispatches that do not belong to the call are {@link scratch} memory. */
  lower(call: KernelCall<S>): readonly Dispatch[]
  /** Operands whose floats may be in memory as f16. Default: no operand. */
  readonly halves?: Halves<OperandName<InputOf<S>>, OperandName<OutputOf<S>>>
  /** Outputs that the kernel can multiply (`KernelCall.scales`). Default: no output. */
  readonly scales?: readonly OperandName<OutputOf<S>>[]
  /** Work of the host, if the kernel has any; it comes after the dispatches. */
  host?(call: KernelCall<S>): HostWork
  /** Number of floating-point operations, and a lower bound of bytes of memory traffic, for profiles. */
  work?(call: KernelCall<S>): { readonly flops: number; readonly bytes: number }
}

export interface Kernel<S extends Signature = Signature> extends Implementation<S> {
  readonly declaration: S
}

export const implement = <const S extends Signature>(
  declaration: S,
  implementation: Implementation<NoInfer<S>>,
): Kernel<S> => ({ declaration, ...implementation })

/** Number of invocations of a workgroup in most kernels, the maximum that every device has. */
export const WORKGROUP = 256

/** Maximum number of workgroups in a dimension. */
const MAX_WORKGROUPS = 65535

/** Workgroups for `count` invocations of {@link linearMain}. */
export const gridOf = (count: number, size = WORKGROUP): Workgroups => rowsOf(Math.ceil(count / size))

/** `count` workgroups, which `row` in {@link workgroupMain} numbers. */
export function rowsOf(count: number): Workgroups {
  const rows = Math.max(1, Math.ceil(count / MAX_WORKGROUPS))
  return [Math.ceil(count / rows), rows, 1]
}

/**
 * Opens `main` with `index`, a u32 below `count`; each index has one invocation. Append the block of the body.
 * @param count A number, or an expression of WGSL: code that has no sizes in it is compiled once for all sizes.
 */
export const linearMain = (count: number | string, size = WORKGROUP): string => `
@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let index = (group.y * groups.x + group.x) * ${size}u + local;
  if (index >= ${unsigned(count)}) { return; }
  body(index);
}
fn body(index: u32)`

const unsigned = (count: number | string): string => (typeof count === 'number' ? `${count}u` : count)

/**
 * Opens `main` with `row`, the index of the workgroup, and `local`, the index of the invocation in it. Workgroups from
 * `count` on return before the body. Append the block of the body.
 * @param count As in {@link linearMain}
 */
export const workgroupMain = (count: number | string, size = WORKGROUP): string => `
@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= ${unsigned(count)}) { return; }
  body(row, local);
}
fn body(row: u32, local: u32)`
