/** Selection of the best experts: two methods with the same result and different cost. */
import { equal, greaterOrEqual, where } from '../../graph/ops/elementwise.ts'
import { oneHot } from '../../graph/ops/indexing.ts'
import { topK } from '../../graph/ops/order.ts'
import { concat, reshape } from '../../graph/ops/shape.ts'
import { constant, type Tensor } from '../../graph/tensor.ts'
import type { MoeConfig } from '../moe-config.ts'

/** Below any score, but finite in float32. */
const LOWEST = -3e38

/** Positions of the k largest along the last axis [..., k], int32, largest first; equal values by position. */
export function bestExperts(score: Tensor, { k, selection }: Pick<MoeConfig, 'k' | 'selection'>): Tensor {
  if (selection === 'fused') return topK(score, k)[1]
  // NaN becomes the lowest score. Otherwise a later pass could pick an element twice.
  let remaining = where(greaterOrEqual(score, LOWEST), score, LOWEST)
  const taken: Tensor[] = []
  for (let choice = 0; choice < k; choice++) {
    const best = topK(remaining, 1)[1]
    taken.push(best)
    if (choice < k - 1) remaining = where(maskOf(best, score), Number.NEGATIVE_INFINITY, remaining)
  }
  return concat(taken, -1)
}

/** True at the given position [..., 1], in the shape of `score`. */
function maskOf(position: Tensor, score: Tensor): Tensor {
  const mark = oneHot(reshape(position, score.shape.slice(0, -1)), score.shape.at(-1) as number, 'int32')
  return equal(mark, constant(1, 'int32'))
}
