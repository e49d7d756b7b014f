/**
 * Nodes that compute every element of their result by itself: arithmetic, and moves of elements. Each gives a WGSL
 * expression for an element at a position, in terms of elements of its operands; so a chain of such nodes is one
 * expression.
 */
import { dim, normalAxis } from '../../../core/graph/shape.ts'
import type { Node, Tensor } from '../../../core/graph/tensor.ts'
import { literal, numbersOf, valueType } from './literals.ts'
import { broadcastPosition, dimsOf, type Position, reshaped } from './position.ts'
import type { Writer } from './writer.ts'

export interface MapContext {
  readonly node: Node
  readonly output: number
  readonly position: Position
  readonly writer: Writer
  /** A name for an element of a tensor. */
  at(tensor: Tensor, position: Position): string
}

/** Cost of an operation on one element, in units of an addition. */
const [CHEAP, COSTLY] = [1, 8]

interface MapRule {
  readonly cost: number
  readonly element: (context: MapContext) => string
}

/** The names of all operands, broadcast to the position. */
const operandsOf = ({ node, position, writer, at }: MapContext): string[] =>
  node.inputs.map((tensor) => at(tensor, broadcastPosition(position, tensor.shape, writer)))

const arithmetic = (expression: (...operands: string[]) => string, cost = CHEAP): MapRule => ({
  cost,
  element: (context) => expression(...operandsOf(context)),
})

/** A rule whose result is the operand at another position. */
const move = (source: (context: MapContext) => Position): MapRule => ({
  cost: 0,
  element: (context) => context.at(context.node.inputs[0] as Tensor, source(context)),
})

const constantsOf = (tensor: Tensor | undefined): number[] =>
  tensor?.source.kind === 'constant' ? numbersOf(tensor.source.data) : []

const intsOf = (value: unknown): readonly number[] => value as readonly number[]

/** The indices with one of them replaced. */
const withIndex = (dims: readonly string[], axis: number, text: string): string[] => dims.with(axis, text)

const sum = (text: string, offset: number, writer: Writer): string =>
  offset === 0 ? text : writer.let(`${text} ${offset < 0 ? '-' : '+'} ${Math.abs(offset)}`)

const castTo: MapRule = {
  cost: CHEAP,
  element: ({ node, position, at }) => {
    const [x] = node.inputs as [Tensor]
    const from = valueType[x.dtype]
    const to = valueType[(node.outputs[0] as { dtype: Tensor['dtype'] }).dtype]
    const text = at(x, { ...position, shape: x.shape })
    if (from === to) return text
    if (from === 'bool') return to === 'f32' ? `select(0.0, 1.0, ${text})` : `select(0, 1, ${text})`
    if (to === 'bool') return from === 'f32' ? `(${text} != 0.0)` : `(${text} != 0)`
    return `${to}(${text})`
  },
}

const slice = move(({ node, position, writer }) => {
  const [x, starts, , axes, steps] = node.inputs as [Tensor, ...(Tensor | undefined)[]]
  if (constantsOf(steps).some((step) => step !== 1)) throw new Error('internal: a slice with steps')
  let dims = dimsOf(position, writer)
  constantsOf(starts).forEach((start, i) => {
    const axis = normalAxis(constantsOf(axes)[i] ?? i, x.shape.length)
    dims = withIndex(dims, axis, sum(dims[axis] as string, start < 0 ? start + dim(x.shape, axis) : start, writer))
  })
  return { shape: x.shape, dims }
})

const split = move(({ node, output, position, writer }) => {
  const [x, sizes] = node.inputs as [Tensor, Tensor]
  const axis = normalAxis(node.attributes.axis as number, x.shape.length)
  const start = constantsOf(sizes)
    .slice(0, output)
    .reduce((total, size) => total + size, 0)
  const dims = dimsOf(position, writer)
  return { shape: x.shape, dims: withIndex(dims, axis, sum(dims[axis] as string, start, writer)) }
})

const transpose = move(({ node, position, writer }) => {
  const [x] = node.inputs as [Tensor]
  const dims = dimsOf(position, writer)
  const order = intsOf(node.attributes.perm)
  return { shape: x.shape, dims: x.shape.map((_, axis) => dims[order.indexOf(axis)] as string) }
})

/** Evaluates only the branch that holds the element. */
function chosen(
  { writer }: MapContext,
  dtype: Tensor['dtype'],
  otherwise: string,
  branches: readonly { readonly when: string; readonly value: () => string }[],
): string {
  const result = writer.variable(valueType[dtype], otherwise)
  branches.forEach(({ when, value }, i) => {
    writer.block(`${i > 0 ? 'else ' : ''}if (${when})`, () => writer.line(`${result} = ${value()};`))
  })
  return result
}

const concat: MapRule = {
  cost: CHEAP,
  element: (context) => {
    const { node, position, writer, at } = context
    const axis = normalAxis(node.attributes.axis as number, (node.inputs[0] as Tensor).shape.length)
    const dims = dimsOf(position, writer)
    const index = dims[axis] as string
    let start = 0
    const branches = node.inputs.map((part) => {
      const first = start
      start += dim(part.shape, axis)
      const value = () => at(part, { shape: part.shape, dims: withIndex(dims, axis, sum(index, -first, writer)) })
      return { when: `${index} < ${start}`, value }
    })
    const { dtype } = node.outputs[0] as Tensor
    return chosen(context, dtype, literal(0, dtype), branches)
  },
}

const pad: MapRule = {
  cost: CHEAP,
  element: (context) => {
    const { node, position, writer, at } = context
    const [x, pads] = node.inputs as [Tensor, Tensor]
    const before = constantsOf(pads).slice(0, x.shape.length)
    const dims = dimsOf(position, writer)
    const conditions = dims.flatMap((text, axis) => {
      const first = before[axis] as number
      const end = first + dim(x.shape, axis)
      return [
        ...(first > 0 ? [`${text} >= ${first}`] : []),
        ...(end < dim(position.shape, axis) ? [`${text} < ${end}`] : []),
      ]
    })
    const inner = () =>
      at(x, { shape: x.shape, dims: dims.map((text, axis) => sum(text, -(before[axis] as number), writer)) })
    if (conditions.length === 0) return inner()
    return chosen(context, x.dtype, literal(0, x.dtype), [{ when: conditions.join(' && '), value: inner }])
  },
}

/** Takes rows of x by index, along axis 0. */
const gather: MapRule = {
  cost: CHEAP,
  element: ({ node, position, writer, at }) => {
    const [x, indices] = node.inputs as [Tensor, Tensor]
    const dims = dimsOf(position, writer)
    const rank = indices.shape.length
    const row = at(indices, { shape: indices.shape, dims: dims.slice(0, rank) })
    return at(x, { shape: x.shape, dims: [row, ...dims.slice(rank)] })
  },
}

const gatherElements: MapRule = {
  cost: CHEAP,
  element: ({ node, position, writer, at }) => {
    const [x, indices] = node.inputs as [Tensor, Tensor]
    const axis = normalAxis(node.attributes.axis as number, x.shape.length)
    const dims = dimsOf(position, writer)
    return at(x, { shape: x.shape, dims: withIndex(dims, axis, at(indices, position)) })
  },
}

/** The operator of {@link scatterFew}. */
export const SCATTER_FEW = 'ScatterFew'

/**
 * `ScatterElements` into the number `fill`, with the operands indices and updates: each element looks at all updates of
 * its line, in their order.
 */
const scatterFew: MapRule = {
  cost: CHEAP,
  element: ({ node, position, writer, at }) => {
    const [indices, updates] = node.inputs as [Tensor, Tensor]
    const { axis, fill, reduction } = node.attributes as { axis: number; fill: { float: number }; reduction?: string }
    const dims = dimsOf(position, writer)
    const result = writer.variable(valueType[updates.dtype], literal(fill.float, updates.dtype))
    for (let u = 0; u < dim(updates.shape, axis); u++) {
      const from = { shape: updates.shape, dims: withIndex(dims, axis, `${u}`) }
      writer.block(`if (${at(indices, from)} == ${dims[axis]})`, () =>
        writer.line(`${result} ${reduction === 'add' ? '+=' : '='} ${at(updates, from)};`),
      )
    }
    return result
  },
}

/** Rotates each pair (x[i], x[i + d/2]) by its angle; x [B, H, S, d], cos and sin [S, d/2]. */
const rotate: MapRule = {
  cost: 4,
  element: ({ node, position, writer, at }) => {
    const [x, , cos, sin] = node.inputs as [Tensor, Tensor, Tensor, Tensor]
    const half = dim(x.shape, -1) / 2
    const dims = dimsOf(position, writer)
    const [i, s] = [dims.at(-1) as string, dims.at(-2) as string]
    const isFirst = writer.let(`${i} < ${half}`)
    const pair = writer.let(`select(${i} - ${half}, ${i}, ${isFirst})`)
    const other = writer.let(`select(${i} - ${half}, ${i} + ${half}, ${isFirst})`)
    const angle = (table: Tensor) => at(table, { shape: table.shape, dims: [s, pair] })
    const own = at(x, position)
    const partner = at(x, { shape: x.shape, dims: withIndex(dims, dims.length - 1, other) })
    return `${own} * ${angle(cos)} + select(${partner}, -${partner}, ${isFirst}) * ${angle(sin)}`
  },
}

const reshape = move(({ node, position, writer }) => {
  const [x] = node.inputs as [Tensor]
  return reshaped(position, x.shape, writer)
})

const comparison = (operator: string): MapRule => arithmetic((a, b) => `(${a} ${operator} ${b})`)

const rules: Readonly<Record<string, MapRule>> = {
  Add: arithmetic((a, b) => `${a} + ${b}`),
  Sub: arithmetic((a, b) => `${a} - ${b}`),
  Mul: arithmetic((a, b) => `${a} * ${b}`),
  Div: arithmetic((a, b) => `${a} / ${b}`, 4),
  Mod: arithmetic((a, b) => `${a} % ${b}`, 4),
  Max: arithmetic((a, b) => `max(${a}, ${b})`),
  Min: arithmetic((a, b) => `min(${a}, ${b})`),
  Neg: arithmetic((x) => `-(${x})`),
  Exp: arithmetic((x) => `exp(${x})`, COSTLY),
  Log: arithmetic((x) => `log(${x})`, COSTLY),
  Sqrt: arithmetic((x) => `sqrt(${x})`, COSTLY),
  Reciprocal: arithmetic((x) => `1.0 / ${x}`, 4),
  Tanh: arithmetic((x) => `tanh(${x})`, COSTLY),
  Sigmoid: arithmetic((x) => `1.0 / (1.0 + exp(-${x}))`, COSTLY),
  Erf: arithmetic((x) => `erf(${x})`, COSTLY),
  Gelu: arithmetic((x) => `0.5 * ${x} * (1.0 + erf(${x} * ${Math.SQRT1_2}))`, COSTLY),
  Equal: comparison('=='),
  Less: comparison('<'),
  GreaterOrEqual: comparison('>='),
  Not: arithmetic((x) => `!${x}`),
  Where: arithmetic((condition, a, b) => `select(${b}, ${a}, ${condition})`),
  Cast: castTo,
  Expand: move(({ node, position, writer }) => broadcastPosition(position, (node.inputs[0] as Tensor).shape, writer)),
  Transpose: transpose,
  Slice: slice,
  Split: split,
  Concat: concat,
  Pad: pad,
  Gather: gather,
  GatherElements: gatherElements,
  [SCATTER_FEW]: scatterFew,
  RotaryEmbedding: rotate,
  Reshape: reshape,
  Unsqueeze: reshape,
  Identity: move(({ position }) => position),
  Copy: move(({ position }) => position),
}

export const isMap = ({ type, domain }: Node): boolean => domain !== 'choir' && type in rules

/** Whether a node is a reshape or an identity, whose result is in the memory of its operand. */
export const isAlias = ({ type }: Node): boolean => type === 'Reshape' || type === 'Unsqueeze' || type === 'Identity'

/** The tensor that has the memory of `tensor`, which may be a reshape of it. */
export function baseOf(tensor: Tensor): Tensor {
  let base = tensor
  while (base.source.kind === 'node' && isAlias(base.source)) base = base.source.inputs[0] as Tensor
  return base
}

export const isReduction = ({ type }: Node): boolean => type === 'ReduceSum' || type === 'ReduceMax'

export const costOf = ({ type, inputs, attributes }: Node): number => {
  const updates = type === SCATTER_FEW ? dim((inputs[1] as Tensor).shape, attributes.axis as number) : 1
  return updates * (rules[type] as MapRule).cost
}

/** A WGSL expression for an element of a node's output. */
export const elementOf = (context: MapContext): string => (rules[context.node.type] as MapRule).element(context)

/** Inputs whose elements are read; the other inputs are shapes and other constants of the node. */
export function dataInputs(node: Node): readonly Tensor[] {
  switch (node.type) {
    case 'Reshape':
    case 'Unsqueeze':
    case 'Expand':
    case 'Slice':
    case 'Pad':
    case 'TopK':
    case 'CumSum':
      return node.inputs.slice(0, 1)
    case 'Split':
      return node.inputs.slice(0, 1)
    case 'RotaryEmbedding':
      return node.inputs.filter((_, i) => i !== 1)
    default:
      return node.inputs
  }
}

/** Whether a node reads its operand at its own position, broadcast by NumPy's rules. */
export const isElementwise = (node: Node): boolean =>
  (rules[node.type] as MapRule).cost > 0 &&
  !['Concat', 'Pad', 'Gather', 'GatherElements', SCATTER_FEW, 'RotaryEmbedding'].includes(node.type)
