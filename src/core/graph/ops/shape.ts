/** Ops that move or reshape elements without computing. */
import { dim, formatShape, normalAxis, sameShape, sizeOf, withDim } from '../shape.ts'
import { constant, defineOp, emit, emitMany, RAGGED, type Tensor } from '../tensor.ts'

/** The same elements in another shape (no copy). One dimension may be RAGGED if `x` has a RAGGED one. */
export const reshape: (x: Tensor, shape: readonly number[]) => Tensor = defineOp(
  'reshape',
  'shape',
  (x: Tensor, shape: readonly number[]) => {
    if (Math.abs(sizeOf(x.shape)) !== Math.abs(sizeOf(shape)))
      throw new Error(`reshape of ${formatShape(x.shape)} to ${formatShape(shape)}`)
    const dims = constant(shape, 'int64')
    return {
      // allowzero: a 0 in the shape means an empty dimension, not "as before".
      result: sameShape(x.shape, shape)
        ? x
        : emit('Reshape', [x, dims], { shape, attributes: { allowzero: shape.includes(RAGGED) ? 0 : 1 } }),
      inputs: [x],
      gradient: (dy) => [dy && reshape(dy, x.shape)],
    }
  },
)

/** `x` with its axes in another order: axis i of the result is axis `order[i]` of `x`. */
export const transpose: (x: Tensor, order: readonly number[]) => Tensor = defineOp(
  'transpose',
  'shape',
  (x: Tensor, order: readonly number[]) => ({
    result: emit('Transpose', [x], { shape: order.map((axis) => dim(x.shape, axis)), attributes: { perm: order } }),
    inputs: [x],
    gradient: (dy) => [
      dy &&
        transpose(
          dy,
          order.map((_, i) => order.indexOf(i)),
        ),
    ],
  }),
)

/** Elements `start` to `end` (exclusive) along an axis. */
export const slice: (x: Tensor, axis: number, start: number, end: number) => Tensor = defineOp(
  'slice',
  'shape',
  (x: Tensor, axis: number, start: number, end: number) => {
    const at = normalAxis(axis, x.shape.length)
    const size = dim(x.shape, at)
    const bounds = [start, end, at].map((value) => constant([value], 'int64'))
    return {
      result: emit('Slice', [x, ...bounds], { shape: withDim(x.shape, at, end - start) }),
      inputs: [x],
      gradient: (dy) => {
        if (!dy) return []
        const pads = [start, size - end].flatMap((count) => x.shape.map((_, i) => (i === at ? count : 0)))
        return [emit('Pad', [dy, constant(pads, 'int64')], { shape: x.shape })]
      },
    }
  },
)

/** Concatenates tensors along an axis. */
export const concat: (parts: readonly Tensor[], axis: number) => Tensor = defineOp(
  'concat',
  'shape',
  (parts: readonly Tensor[], axis: number) => {
    const first = parts[0] as Tensor
    const at = normalAxis(axis, first.shape.length)
    const sizes = parts.map((part) => dim(part.shape, at))
    const total = sizes.reduce((sum, size) => sum + size, 0)
    return {
      result: emit('Concat', parts, { shape: withDim(first.shape, at, total), attributes: { axis: at } }),
      inputs: parts,
      gradient: (dy) => (dy ? split(dy, at, sizes) : []),
    }
  },
)

/** Splits a tensor along an axis into parts of the given sizes. */
export const split: (x: Tensor, axis: number, sizes: readonly number[]) => readonly Tensor[] = defineOp(
  'split',
  'shape',
  (x: Tensor, axis: number, sizes: readonly number[]) => {
    const at = normalAxis(axis, x.shape.length)
    const outputs = sizes.map((size) => ({ dtype: x.dtype, shape: withDim(x.shape, at, size) }))
    return {
      result: emitMany('Split', [x, constant(sizes, 'int64')], outputs, { attributes: { axis: at } }),
      inputs: [x],
      gradient: (...dys) => [
        concat(
          dys.map((dy, i) => dy ?? zeros(withDim(x.shape, at, sizes[i] as number), x)),
          at,
        ),
      ],
    }
  },
)

/** Zeros of a static shape and the dtype of `like`. */
export const zeros = (shape: readonly number[], like: Tensor): Tensor =>
  emit('Expand', [constant(0, like.dtype), constant(shape, 'int64')], { shape })
