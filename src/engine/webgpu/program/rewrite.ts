/**
 * Rewrites a program for a GPU. Row and column sums come as products with vectors of equal numbers, which is fast on a
 * CPU; here they are sums again. A long sum with few results becomes two shorter sums, so that many workgroups share
 * it. Operators with a simpler form take it (`simpler.ts`), equal maps and reductions become one, and kernels multiply
 * their results themselves (`scales.ts`).
 */
import type { Shape } from '../../../core/graph/model.ts'
import { type Program, reach } from '../../../core/graph/program.ts'
import { normalAxis, sizeOf } from '../../../core/graph/shape.ts'
import { constant, emit, type Node, type Tensor, withOrigin } from '../../../core/graph/tensor.ts'
import { numbersOf, patternOf, uniform } from '../codegen/literals.ts'
import { baseOf, isMap, isReduction } from '../codegen/maps.ts'
import type { Kernel } from '../kernels/contract.ts'
import { findScales } from './scales.ts'
import { simpler } from './simpler.ts'

/** Minimum number of elements of a sum that is cut, and number of results from which on there are enough workgroups. */
const [LONG, ENOUGH] = [4096, 512]

/** A node of a program for a device, where kernels do more than in the graph. */
export interface DeviceNode extends Node {
  /** Factors of results, by name. */
  readonly scales?: Readonly<Record<string, number>>
  /** Names of results to which inputs are added. These inputs follow the inputs of the kernel, in this order. */
  readonly added?: readonly string[]
}

export interface OrderedProgram {
  /** Outputs, each with memory of its own: an input, a constant, or a second name of a result is copied. */
  readonly outputs: Readonly<Record<string, Tensor>>
  /** Nodes in a valid order of computation, close to the order in which model code made them. */
  readonly nodes: readonly DeviceNode[]
}

export function rewrite(program: Program, kernels: Readonly<Record<string, Kernel>> = {}): OrderedProgram {
  const rewritten = new Map<Node, readonly Tensor[]>()
  const of = (tensor: Tensor): Tensor => {
    if (tensor.source.kind !== 'node') return tensor
    const outputs = rewritten.get(tensor.source)
    if (!outputs) throw new Error('internal: a node comes before its operands')
    return outputs[tensor.output] as Tensor
  }
  const nodes: DeviceNode[] = []
  const added = new Map<Node, readonly Tensor[]>()
  const keys = new Keys()
  const byKey = new Map<string, readonly Tensor[]>()
  /** Adds the nodes that compute a tensor, unless equal nodes exist. */
  const add = (tensor: Tensor): Tensor => {
    const { source, output } = tensor
    if (source.kind !== 'node') return tensor
    const known = added.get(source)
    if (known) return known[output] as Tensor
    const node: Node = { ...source, inputs: source.inputs.map(add) }
    const key = keys.of(node)
    const equal = key === null ? undefined : byKey.get(key)
    const outputs =
      equal ?? node.outputs.map(({ dtype, shape }, i): Tensor => ({ dtype, shape, source: node, output: i }))
    if (!equal) nodes.push(node)
    if (key !== null) byKey.set(key, outputs)
    for (const of of [source, node]) added.set(of, outputs)
    return outputs[output] as Tensor
  }
  const original = reach(program).nodes.toSorted((a, b) => a.serial - b.serial)
  const scales = findScales(original, Object.values(program.outputs), kernels)
  for (const node of original) {
    const ofResults = scales.ofKernel.get(node)
    const same: DeviceNode = { ...node, inputs: node.inputs.map(of), ...(ofResults && { scales: ofResults }) }
    const scaled = scales.done.get(node)
    const better = withOrigin(node.origin, () =>
      scaled ? reshaped(of(scaled), node.outputs[0]?.shape ?? []) : (asSum(same) ?? asShorter(same) ?? simpler(same)),
    )
    const kept = node.outputs.map(({ dtype, shape }, output): Tensor => ({ dtype, shape, source: same, output }))
    rewritten.set(node, (better ? [better] : kept).map(add))
  }
  const outputs: Record<string, Tensor> = {}
  const bound = new Set<string>()
  for (const [name, tensor] of Object.entries(program.outputs)) {
    const result = of(tensor)
    const base = baseOf(result)
    const key = `${nodes.indexOf(base.source as Node)} ${base.output}`
    const isFree = base.source.kind === 'node' && !bound.has(key)
    bound.add(key)
    outputs[name] = isFree ? result : add(emit('Copy', [result], { shape: result.shape }))
  }
  return { nodes, outputs }
}

/** Keys of maps and reductions, which are equal for nodes that compute the same. */
class Keys {
  private readonly ids = new Map<object, number>()

  /** The key of a node; null for a kernel, and for a copy, which has memory of its own. */
  of(node: Node): string | null {
    const { type, attributes, inputs, outputs } = node
    if (type === 'Copy' || !(isMap(node) || isReduction(node))) return null
    return JSON.stringify([type, attributes, outputs, inputs.map((tensor) => this.ofTensor(tensor))])
  }

  private ofTensor({ source, output, dtype, shape }: Tensor): unknown {
    const pattern = source.kind === 'constant' && patternOf(source.data)
    return pattern ? [dtype, shape, pattern] : [this.idOf(source.kind === 'constant' ? source.data : source), output]
  }

  private idOf(of: object): number {
    const id = this.ids.get(of) ?? this.ids.size
    this.ids.set(of, id)
    return id
  }
}

const reshaped = (x: Tensor, shape: Shape): Tensor => emit('Reshape', [x, constant(shape, 'int64')], { shape })

/** Sums that come as products or as means: [..., D]·[D, 1] → [..., 1], or [R]·[R, D] → [D]. */
function asSum(node: Node): Tensor | null {
  const [a, b] = node.inputs as [Tensor, Tensor]
  const { shape } = node.outputs[0] as Tensor
  const scaled = (sum: Tensor, scale: number) =>
    scale === 1 ? sum : emit('Mul', [sum, constant(scale, sum.dtype)], { shape })
  if (node.type === 'ReduceMean') {
    const sum = emit('ReduceSum', node.inputs, { shape, attributes: node.attributes })
    return scaled(asShorter(sum.source as Node) ?? sum, sizeOf(shape) / sizeOf(a.shape))
  }
  if (node.type !== 'MatMul') return null
  const ofRows = uniform(b.source)
  if (ofRows !== null && b.shape.length === 2 && b.shape[1] === 1) return scaled(reduceSum(a, -1, shape, true), ofRows)
  const ofColumns = uniform(a.source)
  if (ofColumns !== null && a.shape.length === 1) return scaled(reduceSum(b, 0, shape, false), ofColumns)
  return null
}

function reduceSum(x: Tensor, axis: number, shape: readonly number[], keep: boolean): Tensor {
  const attributes = { keepdims: keep ? 1 : 0 }
  const sum = emit('ReduceSum', [x, constant([normalAxis(axis, x.shape.length)], 'int64')], { shape, attributes })
  return asShorter(sum.source as Node) ?? sum
}

/** The axes that a reduction removes, from 0. */
export function axesOf(node: Node): number[] {
  const [x, axes] = node.inputs as [Tensor, Tensor]
  if (axes.source.kind !== 'constant') throw new Error('internal: axes of a reduction are not constant')
  return numbersOf(axes.source.data)
    .map((axis) => normalAxis(axis, x.shape.length))
    .sort((a, b) => a - b)
}

/** A reduction of single elements is a reshape, a reduction of nothing is zero, and a long reduction has two steps. */
function asShorter(node: Node): Tensor | null {
  if (node.type !== 'ReduceSum' && node.type !== 'ReduceMax') return null
  const [x] = node.inputs as [Tensor]
  const { shape } = node.outputs[0] as Tensor
  const axes = axesOf(node)
  const [first, last] = [axes[0] as number, axes.at(-1) as number]
  const length = axes.reduce((product, axis) => product * (x.shape[axis] as number), 1)
  if (length === 1) return reshaped(x, shape)
  if (length === 0) return emit('Expand', [constant(0, x.dtype), constant(shape, 'int64')], { shape })
  if (length < LONG || sizeOf(shape) >= ENOUGH || last - first !== axes.length - 1) return null
  const parts = partsOf(length)
  if (parts === 1) return null
  const [before, after] = [x.shape.slice(0, first), x.shape.slice(last + 1)]
  const cut = [...before, parts, length / parts, ...after]
  const inParts = reshaped(x, cut)
  const reduce = (of: Tensor, axis: number, to: readonly number[]) =>
    emit(node.type, [of, constant([axis], 'int64')], { shape: to, attributes: { keepdims: 0 } })
  const partial = reduce(inParts, first + 1, [...before, parts, ...after])
  const whole = reduce(partial, first, [...before, ...after])
  return reshaped(whole, shape)
}

/**
 * Number of parts of a long sum: about the root of the length, so that both steps are short. It divides the length; 1
 * if no such number does.
 */
function partsOf(length: number): number {
  for (let parts = Math.floor(Math.sqrt(length)); parts >= 8; parts--) if (length % parts === 0) return parts
  return 1
}
