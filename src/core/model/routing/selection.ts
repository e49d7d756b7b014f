/** Selection of the best experts, by two methods with the same result and different cost, and of the best groups. */
import { equal, greaterOrEqual, where } from '../../graph/ops/elementwise.ts'
import { oneHot } from '../../graph/ops/indexing.ts'
import { topK } from '../../graph/ops/order.ts'
import { max, sum } from '../../graph/ops/reduction.ts'
import { concat, reshape } from '../../graph/ops/shape.ts'
import { constant, type Tensor } from '../../graph/tensor.ts'
import type { MoeConfig } from '../config/moe-config.ts'

/** A score below any other, but finite in float32. */
const LOWEST = -3e38

/**
 * Positions of the k largest scores along the last axis [..., k], int32, the largest first; equal scores by position.
 */
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

/**
 * Scores [T, 1, N] in which experts outside the token's best groups have a score below any other. The N experts are
 * `expertGroups` consecutive groups, of which the `groupsPerToken` best by `groupScore` remain, and of equally good
 * groups the first (DeepSeek-V2, section 2.1.3; DeepSeek-V3, section 2.1.2).
 */
export function inBestGroups(score: Tensor, { expertGroups, groupsPerToken, groupScore }: MoeConfig): Tensor {
  if (groupsPerToken === expertGroups) return score
  const [tokens, , experts] = score.shape as [number, number, number]
  const score_TGN = reshape(score, [tokens, expertGroups, experts / expertGroups])
  const group_TG = groupScore === 'max' ? max(score_TGN, { axes: [2] }) : sum(topK(score_TGN, 2)[0], { axes: [2] })
  const best = topK(group_TG, groupsPerToken)[1]
  const isBest_TG1 = reshape(sum(oneHot(best, expertGroups, 'int32'), { axes: [1] }), [tokens, expertGroups, 1])
  return reshape(where(equal(isBest_TG1, constant(1, 'int32')), score_TGN, LOWEST), score.shape)
}

/** A mask in the shape of `score` that is true at the given position [..., 1]. */
function maskOf(position: Tensor, score: Tensor): Tensor {
  const mark = oneHot(reshape(position, score.shape.slice(0, -1)), score.shape.at(-1) as number, 'int32')
  return equal(mark, constant(1, 'int32'))
}
