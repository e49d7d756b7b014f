/** Ops that pick elements by integer position. Indices are int32 and never negative. */
import { dim, normalAxis, withDim } from '../shape.ts'
import { constant, defineIndexOp, defineOp, emit, type Tensor } from '../tensor.ts'
import { cast, equal } from './elementwise.ts'
import { isQuantized, rowsOfQuantized } from './quantized.ts'
import { reshape, zeros } from './shape.ts'

/** Rows of `x` by index: [R, ...] at indices [...I] → [...I, ...]. */
export const gather: (x: Tensor, indices: Tensor) => Tensor = defineOp(
  'gather',
  'indexing',
  (x: Tensor, indices: Tensor) => ({
    result: isQuantized(x) ? rowsOfQuantized(x, indices) : gathered(x, indices),
    inputs: [x],
    gradient: (dy) => [dy && scatterAdd(dy, indices, dim(x.shape, 0))],
  }),
)

const gathered = (x: Tensor, indices: Tensor): Tensor =>
  emit('Gather', [x, indices], { shape: [...indices.shape, ...x.shape.slice(1)], attributes: { axis: 0 } })

/**
 * Sums rows into a table of `size` rows: [...I, ...] at indices [...I] → [size, ...]; the adjoint of
 * `gather`. Uses ScatterElements: ScatterND with reduction "add" races with more than one thread.
 */
export const scatterAdd: (rows: Tensor, indices: Tensor, size: number) => Tensor = defineOp(
  'scatter-add',
  'indexing',
  (rows: Tensor, indices: Tensor, size: number) => {
    const inner = rows.shape.slice(indices.shape.length)
    const count = indices.shape.reduce((product, d) => product * d, 1)
    const flat = emit('Reshape', [rows, constant([count, ...inner], 'int64')], {
      shape: [count, ...inner],
      attributes: { allowzero: 1 },
    })
    const column = emit('Reshape', [indices, constant([count, ...inner.map(() => 1)], 'int64')], {
      shape: [count, ...inner.map(() => 1)],
      attributes: { allowzero: 1 },
    })
    const spread = emit('Expand', [column, constant([count, ...inner], 'int64')], { shape: [count, ...inner] })
    return {
      result: emit('ScatterElements', [zeros([size, ...inner], rows), spread, flat], {
        shape: [size, ...inner],
        attributes: { axis: 0, reduction: 'add' },
      }),
      inputs: [rows, indices],
      gradient: (dy) => [dy && gather(dy, indices)],
    }
  },
)

/** Elements of `x` along an axis, at an index tensor of the same rank. */
export const takeAlong: (x: Tensor, indices: Tensor, axis: number) => Tensor = defineOp(
  'take-along',
  'indexing',
  (x: Tensor, indices: Tensor, axis: number) => {
    const at = normalAxis(axis, x.shape.length)
    return {
      result: emit('GatherElements', [x, indices], { shape: indices.shape, attributes: { axis: at } }),
      inputs: [x],
      gradient: (dy) => [dy && scatterAlong(dy, indices, at, dim(x.shape, at))],
    }
  },
)

/** Sums elements into zeros of length `size` along an axis: the adjoint of `takeAlong`. */
export const scatterAlong: (updates: Tensor, indices: Tensor, axis: number, size: number) => Tensor = defineOp(
  'scatter-along',
  'indexing',
  (updates: Tensor, indices: Tensor, axis: number, size: number) => {
    const shape = withDim(updates.shape, axis, size)
    return {
      result: emit('ScatterElements', [zeros(shape, updates), indices, updates], {
        shape,
        attributes: { axis, reduction: 'add' },
      }),
      inputs: [updates],
      gradient: (dy) => [dy && takeAlong(dy, indices, axis)],
    }
  },
)

/** 1 at the index, 0 elsewhere: [...I] → [...I, depth]. */
export const oneHot: (indices: Tensor, depth: number, dtype: Tensor['dtype']) => Tensor = defineIndexOp(
  'one-hot',
  'indexing',
  (indices: Tensor, depth: number, dtype: Tensor['dtype']) =>
    cast(equal(reshape(indices, [...indices.shape, 1]), range(depth)), dtype),
)

/**
 * The inverse of an injective map: result[indices[i]] = i, and `absent` where no index points. Index `size` is
 * discarded.
 */
export const invertIndex: (indices: Tensor, size: number, absent: number) => Tensor = defineIndexOp(
  'invert-index',
  'indexing',
  (indices: Tensor, size: number, absent: number) => {
    const count = dim(indices.shape, 0)
    const filled = emit('Expand', [constant(absent, 'int32'), constant([size + 1], 'int64')], { shape: [size + 1] })
    const inverse = emit('ScatterElements', [filled, indices, range(count)], {
      shape: [size + 1],
      attributes: { axis: 0 },
    })
    return emit('Slice', [inverse, constant([0], 'int64'), constant([size], 'int64')], { shape: [size] })
  },
)

/** 0, 1, ..., count − 1 in int32. */
const range = (count: number): Tensor =>
  constant(
    Int32Array.from({ length: count }, (_, i) => i),
    'int32',
  )
