/**
 * Symbolic tensors.
 *
 * Think of two layers. A *node* is one ONNX operator with known output shapes; `emit` makes one. An
 * *op* is what model code calls: a composition of nodes with a gradient rule; `defineOp` makes one.
 * A tensor knows both: the node that computes it (followed by the ONNX writer) and the application
 * of an op that it is the result of (followed by `gradient`, which does not look inside an op: an op
 * may save intermediate results for a hand-written gradient).
 *
 * Tracing is just calling functions: the graph of a result is whatever can be reached from it, and
 * what cannot be reached is never written.
 */
import type { DType, Origin, Shape } from './model.ts'

/** Rows of one expert: a dimension known only at run time. Two ragged dimensions that meet are equal. */
export const RAGGED = -1

export type ConstantData = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array

export type AttributeValue = number | string | readonly number[] | { readonly float: number }

/** One ONNX operator, or one kernel. Integer-valued attributes are numbers; floats are `{ float }`. */
export interface Node {
  readonly kind: 'node'
  /** Nodes are numbered as they are made: an order in which they can be computed. */
  readonly serial: number
  readonly type: string
  readonly domain: '' | 'com.microsoft' | 'choir'
  /** For a kernel (domain `choir`). */
  readonly kernel?: KernelTraits
  readonly inputs: readonly Tensor[]
  readonly attributes: Readonly<Record<string, AttributeValue>>
  readonly outputs: readonly { readonly dtype: DType; readonly shape: Shape }[]
  readonly origin: Origin
}

/** What cutting a program into stages must know of a kernel. */
export interface KernelTraits {
  /** Results that it can add one more tensor to, given as a further input. */
  readonly addsTo?: readonly number[]
  /** Its first result may take the memory of its first input, where nothing else needs that any more. */
  readonly overwrites?: true
  /** It reaches only memory of the program's own: what comes from outside, or goes there, is copied. */
  readonly local?: true
  /** The same for some inputs alone. */
  readonly localInputs?: readonly number[]
}

/** The kernels that a runtime has. */
export interface KernelSet {
  readonly names: ReadonlySet<string>
  /** Rows of an expert are best filled up to a multiple of this. */
  readonly tile: number
}

/** A value given from outside: bound to memory when the program is run. */
export interface Input {
  readonly kind: 'input'
  readonly name: string
}

export interface Constant {
  readonly kind: 'constant'
  readonly data: ConstantData
}

/** One use of an op: enough to send the gradients of its results back to its inputs. */
export interface Application {
  readonly op: string
  readonly layer: string
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  /** Gradients of the outputs (undefined where the loss does not depend on one) to those of the inputs. */
  readonly gradient: (...outputGradients: (Tensor | undefined)[]) => readonly (Tensor | undefined)[]
}

export interface Tensor {
  readonly dtype: DType
  readonly shape: Shape
  readonly source: Node | Input | Constant
  /** Which output of the node. */
  readonly output: number
  readonly application?: Application
}

/** A tensor, or a number that takes the dtype of the tensor it meets. */
export type Operand = Tensor | number

export const isFloat = (dtype: DType): boolean => dtype === 'float32' || dtype === 'float64'

/** Declares a value that is bound to memory when the program runs. */
export function input(name: string, dtype: DType, shape: Shape): Tensor {
  return { dtype, shape, source: { kind: 'input', name }, output: 0 }
}

const arrayOf = { float32: Float32Array, float64: Float64Array, int32: Int32Array, bool: Uint8Array } as const

/** A constant of the given shape; default a vector, or a scalar for a single number. */
export function constant(values: number | ArrayLike<number>, dtype: DType, shape?: Shape): Tensor {
  const list = typeof values === 'number' ? [values] : Array.from(values)
  const data = dtype === 'int64' ? BigInt64Array.from(list, BigInt) : arrayOf[dtype].from(list)
  return {
    dtype,
    shape: shape ?? (typeof values === 'number' ? [] : [list.length]),
    source: { kind: 'constant', data },
    output: 0,
  }
}

/** The operand as a tensor of the dtype of `like`. */
export const asTensor = (operand: Operand, like: Tensor): Tensor =>
  typeof operand === 'number' ? constant(operand, like.dtype) : operand

let layer = ''
let op = ''
let serial = 0
let kernels: KernelSet = { names: new Set(), tile: 1 }

/**
 * Runs `body` for a runtime that has these kernels: ops that know one of them emit it in place of ONNX
 * nodes. Gradients are ops too, so differentiate in the same `body`.
 */
export function withKernels<T>(available: KernelSet, body: () => T): T {
  const outer = kernels
  kernels = available
  try {
    return body()
  } finally {
    kernels = outer
  }
}

/** Whether the runtime that we trace for has a kernel. Kernels compute in float32. */
export const hasKernel = (name: string, dtype: DType): boolean => dtype === 'float32' && kernels.names.has(name)

/** Rows of an expert are best filled up to a multiple of this. */
export const kernelTile = (): number => kernels.tile

/** Runs `body` with the name of a model layer: errors and profiles are told in these terms. */
export function scope<T>(name: string, body: () => T): T {
  const outer = layer
  layer = outer ? `${outer}.${name}` : name
  try {
    return body()
  } finally {
    layer = outer
  }
}

/** Runs `body` under a whole origin; the outermost op of a composition names its nodes. */
export function withOrigin<T>(origin: Origin, body: () => T): T {
  const [outerLayer, outerOp] = [layer, op]
  layer = origin.layer
  op = origin.op
  try {
    return body()
  } finally {
    layer = outerLayer
    op = outerOp
  }
}

export interface EmitOptions {
  readonly shape: Shape
  /** Default: that of the first input. */
  readonly dtype?: DType
  readonly domain?: 'com.microsoft'
  readonly attributes?: Readonly<Record<string, AttributeValue>>
}

/** One ONNX node with one output. */
export function emit(type: string, inputs: readonly Tensor[], options: EmitOptions): Tensor {
  const dtype = options.dtype ?? (inputs[0] as Tensor).dtype
  return emitMany(type, inputs, [{ dtype, shape: options.shape }], options)[0] as Tensor
}

/** One ONNX node with several outputs. */
export function emitMany(
  type: string,
  inputs: readonly Tensor[],
  outputs: readonly { readonly dtype: DType; readonly shape: Shape }[],
  options: Pick<EmitOptions, 'domain' | 'attributes'> = {},
): Tensor[] {
  const source: Node = {
    kind: 'node',
    serial: serial++,
    type,
    domain: options.domain ?? '',
    inputs,
    attributes: options.attributes ?? {},
    outputs,
    origin: { op, layer },
  }
  return outputs.map(({ dtype, shape }, output) => ({ dtype, shape, source, output }))
}

export interface KernelOptions extends KernelTraits {
  readonly attributes?: Readonly<Record<string, AttributeValue>>
}

/**
 * One use of a kernel that runs outside ONNX Runtime (see src/runtime/staged). Only where
 * {@link hasKernel} says so.
 */
export function emitKernel(
  type: string,
  inputs: readonly Tensor[],
  outputs: readonly { readonly dtype: DType; readonly shape: Shape }[],
  { attributes = {}, ...kernel }: KernelOptions = {},
): Tensor[] {
  const source: Node = {
    kind: 'node',
    serial: serial++,
    type,
    domain: 'choir',
    kernel,
    inputs,
    attributes,
    outputs,
    origin: { op, layer },
  }
  return outputs.map(({ dtype, shape }, output) => ({ dtype, shape, source, output }))
}

/** An op of the family `kernel` exists as a kernel only: model code uses it where the runtime has it. */
export type Family =
  | 'elementwise'
  | 'matmul'
  | 'reduction'
  | 'shape'
  | 'indexing'
  | 'order'
  | 'fused'
  | 'expert'
  | 'kernel'

export interface OpEntry {
  readonly name: string
  readonly family: Family
  readonly differentiable: boolean
}

/** Every op there is, by name. */
export const registry = new Map<string, OpEntry>()

/** What building an op gives: results, what they depend on, and how gradients flow back. */
export interface Built<Result extends Tensor | readonly Tensor[]> {
  readonly result: Result
  readonly inputs: readonly Tensor[]
  readonly gradient: Application['gradient']
}

/**
 * Defines a differentiable op. `build` holds its three rules side by side: the shape of the result,
 * its ONNX nodes, and its gradient in terms of ops.
 */
export function defineOp<Args extends readonly unknown[], Result extends Tensor | readonly Tensor[]>(
  name: string,
  family: Family,
  build: (...args: Args) => Built<Result>,
): (...args: Args) => Result {
  register({ name, family, differentiable: true })
  return (...args) => {
    const origin: Origin = { op: op || name, layer }
    const { result, inputs, gradient } = withOrigin(origin, () => build(...args))
    const outputs: Tensor[] = []
    const application: Application = { op: name, layer, inputs, outputs, gradient }
    for (const tensor of Array.isArray(result) ? result : [result]) outputs.push({ ...tensor, application })
    return (Array.isArray(result) ? outputs : outputs[0]) as Result
  }
}

/** Defines an op whose results carry no gradient: integers, comparisons, choices. */
export function defineIndexOp<Args extends readonly unknown[], Result>(
  name: string,
  family: Family,
  build: (...args: Args) => Result,
): (...args: Args) => Result {
  register({ name, family, differentiable: false })
  return (...args) => withOrigin({ op: op || name, layer }, () => build(...args))
}

function register(entry: OpEntry): void {
  if (registry.has(entry.name)) throw new Error(`internal: op ${entry.name} is defined twice`)
  registry.set(entry.name, entry)
}
