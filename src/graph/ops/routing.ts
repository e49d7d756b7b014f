/**
 * Places of choices in the queues of experts, and the rows where kept choices lie. Results are integers without a
 * gradient. Some runtimes have kernels for what is many passes over memory as ONNX operators.
 */
import { dim } from '../shape.ts'
import { defineIndexOp, emitKernel, hasKernel, type Tensor } from '../tensor.ts'
import { multiply } from './elementwise.ts'
import { oneHot } from './indexing.ts'
import { cumulativeSum } from './order.ts'
import { sum } from './reduction.ts'

/**
 * How many entries before each have the same queue, and how many entries each queue has: queue of each entry [..., A],
 * below `queues`, → before [..., A], length [..., `queues`]. All int32.
 */
export const queuePositions: (queue: Tensor, queues: number) => readonly [before: Tensor, length: Tensor] =
  defineIndexOp('queue-positions', 'order', (queue: Tensor, queues: number) => {
    const axis = queue.shape.length - 1
    if (hasKernel('queue-positions', 'float32')) {
      const shapes = [queue.shape, [...queue.shape.slice(0, axis), queues]]
      const results = shapes.map((shape) => ({ dtype: 'int32', shape }) as const)
      return emitKernel('queue-positions', [queue], results) as [Tensor, Tensor]
    }
    const mark = oneHot(queue, queues, 'int32')
    const before = sum(multiply(mark, cumulativeSum(mark, axis, { exclusive: true })), { axes: [axis + 1] })
    return [before, sum(mark, { axes: [axis] })]
  })

/** Whether the runtime that we trace for has {@link keptInBuckets}. */
export const hasBuckets = (): boolean => hasKernel('kept-in-buckets', 'float32')

export interface BucketRule {
  /** Most places that a bucket holds from one position to the next. */
  readonly maxSaved: number
  /** Places in the bucket of each rank before the first position [K]. */
  readonly start_K: readonly number[]
}

/** Choices of experts along the positions of a sequence, int32. */
export interface Served {
  /** Kept ones of each rank, position and expert. */
  readonly kept_GKSN: Tensor
  /** Kept ones before them: at earlier positions, and of earlier ranks at the same. */
  readonly ahead_GKSN: Tensor
  /** All wanted ones, and all kept ones. */
  readonly count_GN: Tensor
  readonly kept_GN: Tensor
}

/**
 * The choices that are kept, of those wanted at each rank, position and expert, int32 [G, K, S, N]. Experts earn places
 * at each position, int32 [S, N]. One pass over the positions (`src/model/routing/by-position.ts` has the rules).
 */
export const keptInBuckets: (wanted_GKSN: Tensor, earned_SN: Tensor, rule: BucketRule) => Served = defineIndexOp(
  'kept-in-buckets',
  'order',
  (wanted_GKSN: Tensor, earned_SN: Tensor, { maxSaved, start_K }: BucketRule) => {
    const { shape } = wanted_GKSN
    const total = [dim(shape, 0), dim(shape, 3)]
    const results = [shape, shape, total, total].map((shape) => ({ dtype: 'int32', shape }) as const)
    const attributes = { maxSaved, start: start_K }
    const tensors = emitKernel('kept-in-buckets', [wanted_GKSN, earned_SN], results, { attributes })
    const [kept_GKSN, ahead_GKSN, count_GN, kept_GN] = tensors as [Tensor, Tensor, Tensor, Tensor]
    return { kept_GKSN, ahead_GKSN, count_GN, kept_GN }
  },
)

/** Whether the runtime that we trace for has {@link packRows}. */
export const packsRows = (): boolean => hasKernel('pack-rows', 'float32')

export interface PackedRows {
  /** Rows of each expert, then unused ones: int64 [N + 1]. */
  readonly sizes: Tensor
  /** Row of each choice [T, K]; 0 if it is dropped. */
  readonly rowOfChoice_TK: Tensor
  /** Choice t·K + k, and token, of each row [R]; 0 if it is unused. */
  readonly choiceOfRow_R: Tensor
  readonly tokenOfRow_R: Tensor
  /** 1 for kept choices, 0 for others, float32 [T, K]. */
  readonly kept_TK: Tensor
}

/**
 * Packs kept choices expert by expert, and within an expert group by group, in R rows.
 * @param position_TK Of each choice in the queue of its expert; from `capacity` on it is dropped.
 * @param kept_GN Choices that each expert keeps of each group of tokens.
 */
export const packRows: (
  expert_TK: Tensor,
  position_TK: Tensor,
  kept_GN: Tensor,
  options: { readonly capacity: number | null; readonly rows: number },
) => PackedRows = defineIndexOp(
  'pack-rows',
  'order',
  (
    expert_TK: Tensor,
    position_TK: Tensor,
    kept_GN: Tensor,
    { capacity, rows }: { readonly capacity: number | null; readonly rows: number },
  ) => {
    const ofRows = { dtype: 'int32', shape: [rows] } as const
    const results = [
      { dtype: 'int64', shape: [dim(kept_GN.shape, 1) + 1] },
      { dtype: 'int32', shape: expert_TK.shape },
      ofRows,
      ofRows,
      { dtype: 'float32', shape: expert_TK.shape },
    ] as const
    // Without a capacity no position is as large.
    const attributes = { capacity: capacity ?? 2 ** 31 - 1 }
    const tensors = emitKernel('pack-rows', [expert_TK, position_TK, kept_GN], results, { attributes })
    const [sizes, rowOfChoice_TK, choiceOfRow_R, tokenOfRow_R, kept_TK] = tensors as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ]
    return { sizes, rowOfChoice_TK, choiceOfRow_R, tokenOfRow_R, kept_TK }
  },
)
