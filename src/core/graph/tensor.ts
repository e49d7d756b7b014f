/**
 * Symbolic tensors.
 *
 * Think of two layers. A *node* is one ONNX operator with known output shapes; `emit` makes one. An
 * *op* is what model code calls: a composition of nodes with a gradient rule; `defineOp` makes one.
 * A tensor refers to both: the node that computes it, which the ONNX writer follows, and the application
 * of the op that returned it, which `gradient` follows. `gradient` does not look inside an op, so an op
 * may save intermediate results for a hand-written gradient.
 *
 * Tracing is just calling functions. The graph of a result is everything reachable from it; unreachable
 * nodes are never written.
 */
import type { DType, Origin, Shape } from './model.ts'

/**
 * The number of rows of one expert, a dimension known only at run time. Ragged dimensions of tensors that are used
 * together are equal.
 */
export const RAGGED = -1

export type ConstantData = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array

export type AttributeValue = number | string | readonly number[] | { readonly float: number }

/** One ONNX operator, or one kernel. Integer-valued attributes are numbers; floats are `{ float }`. */
export interface Node {
  readonly kind: 'node'
  /** Nodes are numbered in the order of creation, which is also a valid order of computation. */
  readonly serial: number
  readonly type: string
  readonly domain: '' | 'com.microsoft' | 'choir'
  /** Set for kernels (domain `choir`). */
  readonly kernel?: KernelUse
  readonly inputs: readonly Tensor[]
  readonly attributes: Readonly<Record<string, AttributeValue>>
  readonly outputs: readonly { readonly dtype: DType; readonly shape: Shape }[]
  readonly origin: Origin
}

/**
 * The traits of one use of a kernel, from its declaration (`kernels/declaration.ts`). Numbers are indices of operands.
 */
export interface KernelUse {
  /** Names of the inputs and outputs of the node, without absent operands. */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  /** Outputs to which the kernel can add one more tensor, passed as a further input. */
  readonly addsTo: readonly number[]
  readonly overwrites?: true
  readonly local?: true
  readonly localInputs?: readonly number[]
  readonly localOutputs?: true
}

/** The kernels that a runtime has. */
export interface KernelSet {
  readonly names: ReadonlySet<string>
  /** Multiple to which the rows of each expert should be padded, for speed. */
  readonly tile: number
  /** Number of threads that share the tasks of a kernel. */
  readonly threads: number
  /**
   * Number of partial sums in which kernels leave a sum over tokens. It does not depend on the number of threads, so
   * the bits of the sum do not either.
   */
  readonly parts: number
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

/** One use of an op, with all that backpropagation needs. */
export interface Application {
  /** Applications are numbered in the order of creation. */
  readonly serial: number
  readonly op: string
  readonly layer: string
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  /** Maps gradients of the outputs (undefined if the loss does not depend on one) to gradients of the inputs. */
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

/** A tensor, or a number that takes the dtype of the other operand. */
export type Operand = Tensor | number

export const isFloat = (dtype: DType): boolean => dtype === 'float32' || dtype === 'float64'

/** Declares a value that is bound to memory when the program runs. */
export function input(name: string, dtype: DType, shape: Shape): Tensor {
  return { dtype, shape, source: { kind: 'input', name }, output: 0 }
}

const arrayOf = { float32: Float32Array, float64: Float64Array, int32: Int32Array, bool: Uint8Array } as const

/** A constant. The default shape is a vector, or a scalar for a single number. */
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
let kernels: KernelSet = { names: new Set(), tile: 1, threads: 1, parts: 1 }

/**
 * Runs `body` for a runtime that has these kernels: an op that has a kernel emits it instead of ONNX nodes.
 * Gradients consist of ops too, so differentiate in the same `body`.
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

/** `KernelSet.names` of the runtime that we trace for. Ops call `hasKernel` of `kernels/declaration.ts` instead. */
export const kernelNames = (): ReadonlySet<string> => kernels.names

/** `KernelSet.tile` of the runtime that we trace for. */
export const kernelTile = (): number => kernels.tile

/** `KernelSet.threads` of the runtime that we trace for. */
export const kernelThreads = (): number => kernels.threads

/** `KernelSet.parts` of the runtime that we trace for. */
export const kernelParts = (): number => kernels.parts

/** Runs `body` inside the named model layer. Errors and profiles report this name. */
export function scope<T>(name: string, body: () => T): T {
  const outer = layer
  layer = outer ? `${outer}.${name}` : name
  try {
    return body()
  } finally {
    layer = outer
  }
}

/** Name of the model layer that {@link scope} is inside of, as errors report it. */
export const scopeName = (): string => layer

/** Runs `body` with the given origin. Nodes are named after the outermost op of a composition. */
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
  /** The dtype of the output; default: the dtype of the first input. */
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
  return emitNode({ type, domain: options.domain ?? '', inputs, attributes: options.attributes ?? {}, outputs })
}

/** One node. Ops call {@link emit} or {@link emitMany}, or `emitKernel` of `kernels/declaration.ts`. */
export function emitNode(node: Omit<Node, 'kind' | 'serial' | 'origin'>): Tensor[] {
  const source: Node = { kind: 'node', serial: serial++, ...node, origin: { op, layer } }
  return source.outputs.map(({ dtype, shape }, output) => ({ dtype, shape, source, output }))
}

/** Ops of the family `kernel` exist only as kernels: model code checks that the runtime has them. */
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

/** All ops, by name. */
export const registry = new Map<string, OpEntry>()

/** Result of building an op. */
export interface Built<Result extends Tensor | readonly Tensor[]> {
  readonly result: Result
  /** The tensors that the result is computed from, and that have gradients. */
  readonly inputs: readonly Tensor[]
  /**
   * The gradient rule: maps gradients of the results, each undefined if the loss does not depend on it, to gradients of
   * the inputs, in their order and shapes. An undefined gradient is zero.
   */
  readonly gradient: Application['gradient']
}

/**
 * Defines a differentiable op. `build` has its three rules in one place: the shape of the result,
 * its ONNX nodes, and its gradient in terms of ops.
 */
export function defineOp<Args extends readonly unknown[], Result extends Tensor | readonly Tensor[]>(
  name: string,
  family: Family,
  build: (...args: Args) => Built<Result>,
): (...args: Args) => Result {
  register({ name, family, differentiable: true })
  return applying(name, build)
}

/** An op that is not in the registry. */
export function applying<Args extends readonly unknown[], Result extends Tensor | readonly Tensor[]>(
  name: string,
  build: (...args: Args) => Built<Result>,
): (...args: Args) => Result {
  return (...args) => {
    const origin: Origin = { op: op || name, layer }
    const { result, inputs, gradient } = withOrigin(origin, () => build(...args))
    const outputs: Tensor[] = []
    const application: Application = { serial: serial++, op: name, layer, inputs, outputs, gradient }
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
