/**
 * Simpler forms of single operators. Moves, conversions and sums that change nothing become other names of their
 * operand; a softmax of rows that are not wide becomes maps and reductions, so that it shares a dispatch with other
 * computations on its rows; a scatter into equal numbers does not read them, and a scatter of few updates is a map.
 */
import { dim, normalAxis, sizeOf } from '../../../core/graph/shape.ts'
import { constant, emit, type Node, type Tensor } from '../../../core/graph/tensor.ts'
import { uniform, valueType } from '../codegen/literals.ts'
import { SCATTER_FEW } from '../codegen/maps.ts'
import { scatterFill } from '../kernels/order/scatter.ts'

/** Maximum width of a softmax that becomes maps and reductions. */
const MAX_SOFTMAX = 1024

/** Maximum number of updates of a line for which a scatter becomes a map. */
const MAX_UPDATES = 8

export function simpler(node: Node): Tensor | null {
  switch (node.type) {
    case 'Transpose':
      return movesNothing(node) ? sameMemory(node) : null
    case 'Cast':
      return changesNothing(node) ? sameMemory(node) : null
    case 'Add':
    case 'Mul':
    case 'Div':
      return withoutConstant(node)
    case 'Softmax':
    case 'LogSoftmax':
      return softmax(node)
    case 'ScatterElements':
      return scatter(node)
    default:
      return null
  }
}

function sameMemory({ inputs: [x], outputs: [y] }: Node): Tensor {
  const { dtype, shape } = y as Node['outputs'][number]
  return emit('Identity', [x as Tensor], { dtype, shape })
}

/** Whether only dimensions of 1 change their places. */
function movesNothing({ attributes, inputs: [x] }: Node): boolean {
  const moved = (attributes.perm as readonly number[]).filter((axis) => dim((x as Tensor).shape, axis) !== 1)
  return moved.every((axis, i) => i === 0 || axis > (moved[i - 1] as number))
}

/** Whether a cast changes nothing: all integers have 32 bits on the device. */
const changesNothing = ({ inputs: [x], outputs: [y] }: Node): boolean =>
  valueType[(x as Tensor).dtype] === valueType[(y as Node['outputs'][number]).dtype]

/** Simplifies x + 0 of integers, x · 1 and x / 1 to x. */
function withoutConstant({ type, inputs, outputs }: Node): Tensor | null {
  const [{ dtype, shape }] = outputs as [Node['outputs'][number]]
  const [a, b] = inputs as [Tensor, Tensor]
  const unit = type === 'Add' ? 0 : 1
  const isUnit = ({ source }: Tensor) => uniform(source) === unit
  if (type === 'Add' && dtype === 'float32') return null
  const x = isUnit(b) ? a : isUnit(a) && type !== 'Div' ? b : null
  return x && sizeOf(x.shape) === sizeOf(shape) ? emit('Identity', [x], { shape }) : null
}

function softmax({ type, inputs: [x] }: Node): Tensor | null {
  const { shape } = x as Tensor
  if (dim(shape, -1) < 2 || dim(shape, -1) > MAX_SOFTMAX || sizeOf(shape) === 0) return null
  const column = [...shape.slice(0, -1), 1]
  const reduce = (kind: string, of: Tensor) =>
    emit(kind, [of, constant([-1], 'int64')], { shape: column, attributes: { keepdims: 1 } })
  const maximum = reduce('ReduceMax', x as Tensor)
  const shifted = emit('Sub', [x as Tensor, maximum], { shape })
  const powers = emit('Exp', [shifted], { shape })
  const total = reduce('ReduceSum', powers)
  if (type === 'Softmax') return emit('Div', [powers, total], { shape })
  return emit('Sub', [shifted, emit('Log', [total], { shape: column })], { shape })
}

/** A scatter without its data, if they are all one number, which becomes the attribute `fill`. */
function scatter({ attributes, inputs, outputs }: Node): Tensor | null {
  const [data, indices, updates] = inputs as [Tensor, Tensor, Tensor]
  const [{ shape }] = outputs as [Node['outputs'][number]]
  const { source } = data
  const fill = uniform(
    source.kind === 'node' && source.type === 'Expand' ? (source.inputs[0] as Tensor).source : source,
  )
  if (fill === null || updates.shape.some((d) => d === 0)) return null
  const axis = normalAxis(attributes.axis as number, shape.length)
  const options = { dtype: data.dtype, shape, attributes: { ...attributes, axis, fill: { float: fill } } }
  const isFew = dim(updates.shape, axis) <= MAX_UPDATES
  return emit(isFew ? SCATTER_FEW : scatterFill.declaration.name, [indices, updates], options)
}
