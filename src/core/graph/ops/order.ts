/** Ops that depend on order along an axis: top-k and running sums. */
import { expectFields } from '../options.ts'
import { dim, withDim } from '../shape.ts'
import { constant, defineOp, emit, emitMany, type Tensor } from '../tensor.ts'
import { cast } from './elementwise.ts'
import { scatterAlong } from './indexing.ts'

/**
 * The k largest values along the last axis, the largest first, and equal values in order of position.
 * Results: values [..., k] and positions [..., k] (int32).
 */
export const topK: (x: Tensor, k: number) => readonly [values: Tensor, indices: Tensor] = defineOp(
  'top-k',
  'order',
  (x: Tensor, k: number) => {
    const shape = withDim(x.shape, -1, k)
    const [values, positions] = emitMany(
      'TopK',
      [x, constant([k], 'int64')],
      [
        { dtype: x.dtype, shape },
        { dtype: 'int64', shape },
      ],
      { attributes: { axis: -1, largest: 1, sorted: 1 } },
    ) as [Tensor, Tensor]
    const indices = cast(positions, 'int32')
    return {
      result: [values, indices] as const,
      inputs: [x],
      gradient: (dy) => [dy && scatterAlong(dy, indices, x.shape.length - 1, dim(x.shape, -1))],
    }
  },
)

export interface CumulativeSumOptions {
  /** Leave out the element itself. */
  readonly exclusive?: boolean
  /** Sum from the end. */
  readonly reverse?: boolean
}

/** Running sum along an axis. */
export const cumulativeSum: (x: Tensor, axis: number, options?: CumulativeSumOptions) => Tensor = defineOp(
  'cumulative-sum',
  'order',
  (x: Tensor, axis: number, options: CumulativeSumOptions = {}) => {
    expectFields('options of cumulativeSum', options, ['exclusive', 'reverse'])
    const { exclusive = false, reverse = false } = options
    return {
      result: emit('CumSum', [x, constant(axis, 'int64')], {
        shape: x.shape,
        attributes: { exclusive: exclusive ? 1 : 0, reverse: reverse ? 1 : 0 },
      }),
      inputs: [x],
      gradient: (dy) => [dy && cumulativeSum(dy, axis, { exclusive, reverse: !reverse })],
    }
  },
)
