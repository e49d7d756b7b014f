/** Sums, means and maxima over axes. */
import { expectFields } from '../options.ts'
import { dim, reduced, sameShape, sizeOf } from '../shape.ts'
import { constant, defineOp, emit, type Tensor } from '../tensor.ts'
import { broadcastTo, equal, multiply, where } from './elementwise.ts'
import { reshape } from './shape.ts'

export interface ReduceOptions {
  /** Default: all axes. */
  readonly axes?: readonly number[]
  readonly keepDims?: boolean
}

const allAxes = (x: Tensor): readonly number[] => x.shape.map((_, i) => i)

function emitReduce(type: string, x: Tensor, options: ReduceOptions): Tensor {
  expectFields('options of sum, mean and max', options, ['axes', 'keepDims'])
  const { axes = allAxes(x), keepDims = false } = options
  if (axes.length === 0) return x
  const reduce = (keep: boolean) =>
    emit(type, [x, constant(axes, 'int64')], {
      shape: reduced(x.shape, axes, keep),
      attributes: { keepdims: keep ? 1 : 0 },
    })
  // For an empty tensor, ONNX Runtime returns the right shape only if the axes are kept.
  return keepDims || sizeOf(x.shape) !== 0 ? reduce(keepDims) : reshape(reduce(true), reduced(x.shape, axes, false))
}

/** `y`, a reduction of `x`, with its reduced axes as dimensions of 1. */
const withAxes = (y: Tensor, x: Tensor, { axes = allAxes(x) }: ReduceOptions): Tensor =>
  reshape(y, reduced(x.shape, axes, true))

export const sum: (x: Tensor, options?: ReduceOptions) => Tensor = defineOp(
  'sum',
  'reduction',
  (x: Tensor, options: ReduceOptions = {}) => ({
    result: emitReduce('ReduceSum', x, options),
    inputs: [x],
    gradient: (dy) => [dy && broadcastTo(withAxes(dy, x, options), x.shape)],
  }),
)

export const mean: (x: Tensor, options?: ReduceOptions) => Tensor = defineOp(
  'mean',
  'reduction',
  (x: Tensor, options: ReduceOptions = {}) => {
    const count = (options.axes ?? allAxes(x)).reduce((product, axis) => product * dim(x.shape, axis), 1)
    return {
      result: emitReduce('ReduceMean', x, options),
      inputs: [x],
      gradient: (dy) => [dy && broadcastTo(withAxes(multiply(dy, 1 / count), x, options), x.shape)],
    }
  },
)

/** The maximum over axes. Equal maxima share the gradient equally. */
export const max: (x: Tensor, options?: ReduceOptions) => Tensor = defineOp(
  'max',
  'reduction',
  (x: Tensor, options: ReduceOptions = {}) => {
    const y = emitReduce('ReduceMax', x, options)
    return {
      result: y,
      inputs: [x],
      gradient: (dy) => {
        if (!dy) return []
        const chosen = where(equal(x, withAxes(y, x, options)), constant(1, x.dtype), 0)
        const count = sum(chosen, { ...options, keepDims: true })
        const share = emit('Div', [chosen, count], { shape: x.shape })
        return [multiply(share, withAxes(dy, x, options))]
      },
    }
  },
)

/** Sums over the axes along which `shape` was broadcast to the shape of `x`: the adjoint of broadcasting. */
export function sumTo(x: Tensor, shape: readonly number[]): Tensor {
  if (sameShape(x.shape, shape)) return x
  const extra = x.shape.length - shape.length
  const axes = x.shape.flatMap((d, i) => (i < extra || (shape[i - extra] === 1 && d !== 1) ? [i] : []))
  return reshape(sum(x, { axes, keepDims: true }), shape)
}

/**
 * Sums over the last axis as a matmul with ones, [..., D] → [..., 1]. For narrow rows this is many times
 * faster on the CPU than ONNX Runtime's reduction kernel.
 */
export function rowSums(x: Tensor, scale = 1): Tensor {
  const width = dim(x.shape, -1)
  const shape = [...x.shape.slice(0, -1), 1]
  return emit('MatMul', [x, constant(new Float64Array(width).fill(scale), x.dtype, [width, 1])], { shape })
}

/** Sums over all but the last axis as a matmul with ones, [..., D] → [D]. */
export function columnSums(x: Tensor): Tensor {
  const width = dim(x.shape, -1)
  const rows = sizeOf(x.shape.slice(0, -1))
  const ones = constant(new Float64Array(rows).fill(1), x.dtype, [rows])
  return emit('MatMul', [ones, reshape(x, [rows, width])], { shape: [width] })
}
