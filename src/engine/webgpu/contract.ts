/**
 * Kernels of the WebGPU device.
 *
 * Think of a kernel as a function from the shapes of a call to a list of *dispatches*, each a WGSL program over some
 * operands. It never sees a buffer: an operand is an input, an output or scratch memory of the call, which the
 * executable binds. All operands are bound `read_write`, because WebGPU refuses a buffer that is bound both ways in one
 * dispatch, and programs keep many values in one buffer. Two operands in the same memory (a sum written over its
 * addend) become one binding, so a kernel names its arrays by `names`, and must read an element before it writes it.
 *
 * Numbers take 4 bytes: float32 is `f32`; int32, int64 and bool are `i32`. With `math: f16` the floats of operands that a
 * kernel lists in `halves` may take 2 bytes: their dtype is then `float16`, `f16` in WGSL. A kernel computes in float32
 * whatever the memory holds (`kernels/memory.ts`). No results depend on the order in which workgroups run: there are no
 * atomics.
 *
 * @example
 * ```ts
 * /** y = −x *\/
 * const negate: Kernel = {
 *   lower: ({ inputs: [x] }) => ({
 *     dispatches: [
 *       {
 *         name: 'negate',
 *         operands: [{ input: 0 }, { output: 0 }],
 *         workgroups: gridOf(x.size),
 *         code: ([x, y]) => `
 * ${linearMain(x.size)} {
 *   ${y}[index] = -${x}[index];
 * }`,
 *       },
 *     ],
 *   }),
 * }
 * ```
 */
import type { DType, Shape } from '../../core/graph/model.ts'
import type { Halves } from '../../core/graph/stages/contract.ts'
import type { AttributeValue } from '../../core/graph/tensor.ts'

/** Numbers in memory: a float32 value of a program may be kept as `float16` (`program/storage.ts`). */
export type MemoryType = DType | 'float16'

/** A tensor of a call, row-major. */
export interface Operand {
  readonly dtype: MemoryType
  readonly shape: Shape
  readonly size: number
}

export interface KernelCall {
  readonly type: string
  readonly attributes: Readonly<Record<string, AttributeValue>>
  readonly inputs: readonly Operand[]
  readonly outputs: readonly Operand[]
  /** Indices of outputs with an addend. The addends are the last inputs, in this order. */
  readonly added: readonly number[]
  /** Factors of outputs by index, from before their addends are added. Default: 1. */
  readonly scales?: Readonly<Record<number, number>>
  /** Whether tiled products round their factors to f16, where they are not stored so already. Default: false. */
  readonly rounds?: boolean
}

/** An operand of a call: by its index among inputs, outputs or scratch. */
export type Place = { readonly input: number } | { readonly output: number } | { readonly scratch: number }

/** WGSL types of the elements of a binding. Vectors need operands whose size is a multiple of theirs. */
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

/** An operand as a dispatch sees it. `as`: its element type; default by dtype. */
export type Use = Place & { readonly as?: ElementType }

export type Workgroups = readonly [x: number, y: number, z: number]

export interface Dispatch {
  /** For profiles and error messages. */
  readonly name: string
  readonly operands: readonly Use[]
  /**
   * WGSL with the entry point `main`, without the declarations of the operands. Equal code for equal shapes: layers then
   * share a pipeline.
   * @param names Names of the arrays, in the order of `operands`.
   */
  readonly code: (names: readonly string[]) => string
  /** Workgroups to start, or an operand with three u32 numbers at its start that an earlier dispatch has written. */
  readonly workgroups: Workgroups | { readonly indirect: Place }
  /** Reads inputs and writes scratch memory, all of it: calls with the same code and inputs compute it once. */
  readonly shared?: true
}

export interface Lowered {
  /** Memory that holds values between the dispatches of the call only. */
  readonly scratch?: readonly { readonly dtype: MemoryType; readonly shape: Shape }[]
  readonly dispatches: readonly Dispatch[]
}

/** What a device has beyond the base: 8 storage buffers, 256 invocations and 16 KiB of memory for a workgroup. */
export interface DeviceFeatures {
  readonly f16: boolean
  readonly subgroups: boolean
}

export interface Kernel {
  lower(call: KernelCall, features: DeviceFeatures): Lowered
  /** Operands whose floats may be in memory as f16. Default: none. */
  readonly halves?: Halves
  /** Indices of outputs that it can multiply (`KernelCall.scales`). Default: none. */
  readonly scales?: readonly number[]
  /** For profiles: floating-point operations, and a lower bound of bytes of memory traffic. */
  work?(call: KernelCall): { readonly flops: number; readonly bytes: number }
}

/** Invocations of a workgroup in most kernels, the most that every device has. */
export const WORKGROUP = 256

/** Most workgroups in a dimension. */
const MAX_WORKGROUPS = 65535

/** Workgroups for `count` invocations of {@link linearMain}. */
export const gridOf = (count: number, size = WORKGROUP): Workgroups => rowsOf(Math.ceil(count / size))

/** `count` workgroups; `workgroupIndex` in {@link workgroupMain} numbers them. */
export function rowsOf(count: number): Workgroups {
  const rows = Math.max(1, Math.ceil(count / MAX_WORKGROUPS))
  return [Math.ceil(count / rows), rows, 1]
}

/**
 * Opens `main` with `index`, a u32 below `count`: one invocation each. Append a block and a closing brace of its own.
 * @param count A number, or an expression of WGSL: code that has no sizes in it is compiled once for all of them.
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
 * Opens `main` with `row`, the index of the workgroup, and `local`, that of the invocation in it. Workgroups from
 * `count` on must do nothing; with barriers, test `row < count` uniformly.
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
