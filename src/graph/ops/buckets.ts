/** Places of experts along the positions of a sequence, as a kernel (`src/model/routing/by-position.ts` has the rules). */
import { defineIndexOp, emitKernel, hasKernel, type Tensor } from '../tensor.ts'

/** Whether the runtime that we trace for has the kernel. */
export const hasBuckets = (): boolean => hasKernel('kept-in-buckets', 'float32')

export interface BucketRule {
  /** Most places that a bucket holds from one position to the next. */
  readonly maxSaved: number
  /** Places in the bucket of each rank before the first position [K]. */
  readonly start_K: readonly number[]
}

/**
 * Choices kept for each rank, position and expert, int32 [G, K, S, N], of those wanted, of the same shape. Experts earn
 * places at each position, int32 [S, N]. One pass over the positions.
 */
export const keptInBuckets: (wanted_GKSN: Tensor, earned_SN: Tensor, rule: BucketRule) => Tensor = defineIndexOp(
  'kept-in-buckets',
  'order',
  (wanted_GKSN: Tensor, earned_SN: Tensor, { maxSaved, start_K }: BucketRule) => {
    const { dtype, shape } = wanted_GKSN
    return emitKernel('kept-in-buckets', [wanted_GKSN, earned_SN], [{ dtype, shape }], {
      attributes: { maxSaved, start: start_K },
    })[0] as Tensor
  },
)
