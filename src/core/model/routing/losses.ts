/**
 * Balancing losses and statistics of a router. They count all choices, before drops. They are computed for
 * each group of tokens and each prototype, then averaged over both, so that one process with G groups has
 * the same loss as G ranks with one group each.
 */
import type { DType } from '../../graph/model.ts'
import { cast, equal, less, log, maximum, multiply, negate, remainder, square } from '../../graph/ops/elementwise.ts'
import { logSoftmax, logSumExp, softmax } from '../../graph/ops/fused.ts'
import { oneHot } from '../../graph/ops/indexing.ts'
import { mean, sum } from '../../graph/ops/reduction.ts'
import { reshape, slice } from '../../graph/ops/shape.ts'
import { constant, type Tensor } from '../../graph/tensor.ts'
import type { MoeConfig } from '../config/moe-config.ts'
import type { Choice, Placement, RouterLosses } from './contract.ts'
import { ownBalanceLoss } from './own-balance.ts'

export function routerLosses(moe: MoeConfig, choice: Choice, placement: Placement): RouterLosses | null {
  const { logits_TZN, probability_TZN } = choice
  const own = ownBalanceLoss(moe, choice, placement)
  if (choice.losses) return own ? { ...choice.losses, balance: own } : choice.losses
  if (!logits_TZN || !probability_TZN) return null
  return {
    balance: own ?? balanceLoss(moe, choice, placement, probability_TZN),
    z: mean(square(logSumExp(logits_TZN))),
    entropy: negate(mean(sum(multiply(probability_TZN, logProbability(moe, choice)), { axes: [2] }))),
  }
}

/**
 * Entropy of the router's distribution for each token [T], nats: the mean over prototypes of −Σ p ln p. Null for a
 * router without weights. Its mean over tokens is {@link RouterLosses.entropy}.
 */
export function tokenEntropy(moe: MoeConfig, choice: Choice): Tensor | null {
  const { logits_TZN } = choice
  if (!logits_TZN) return null
  // A router that is one op has no output for its distribution, which is the softmax of its logits.
  const probability_TZN = choice.probability_TZN ?? softmax(logits_TZN)
  const entropy_TZ = negate(
    sum(multiply(probability_TZN, logProbability(moe, { ...choice, probability_TZN })), { axes: [2] }),
  )
  return mean(entropy_TZ, { axes: [1] })
}

/**
 * The logarithm of the router's distribution. It is finite where a probability rounds to 0, so that their product is 0.
 * The distribution of a router of the user's own need not be the softmax of its logits.
 */
const logProbability = ({ router, scores }: MoeConfig, { logits_TZN, probability_TZN }: Choice): Tensor =>
  scores === 'sigmoid' || router === 'own'
    ? log(maximum(probability_TZN as Tensor, 1e-30))
    : logSoftmax(logits_TZN as Tensor)

/** The balancing loss (Switch Transformers, eq. 4-6). f_i is the share of all choices; for GShard, of first choices. */
function balanceLoss(moe: MoeConfig, choice: Choice, placement: Placement, probability_TZN: Tensor): Tensor {
  const { prototypes, experts, k } = moe
  const perPrototype = experts / prototypes
  const [groups = 1] = placement.count_GN.shape
  const tokens = (probability_TZN.shape[0] as number) / groups
  const probability = mean(reshape(probability_TZN, [groups, tokens, prototypes, perPrototype]), { axes: [1] })
  const [counts, total] =
    moe.balance.form === 'switch'
      ? [placement.count_GN, moe.router === 'expert-choice' ? experts * (placement.capacity ?? tokens) : tokens * k]
      : [firstChoices(moe, choice, groups, tokens), tokens]
  const share = multiply(
    reshape(cast(counts, probability_TZN.dtype), [groups, prototypes, perPrototype]),
    perPrototype / total,
  )
  return mean(sum(multiply(share, probability), { axes: [2] }))
}

/**
 * Share of tokens that no expert computed, a scalar; null if every token is certain to have an expert.
 * @param dtype The dtype of the result.
 */
export function unservedRate({ position_TK, capacity }: Placement, dtype: DType): Tensor | null {
  if (capacity === null) return null
  const kept_TK = cast(less(position_TK, constant(capacity, 'int32')), 'int32')
  return mean(cast(equal(sum(kept_TK, { axes: [1] }), constant(0, 'int32')), dtype))
}

/**
 * Mean over tokens of the total gate, a scalar: the sum of the gates of a token's kept choices, by which the mixture of
 * its experts is scaled. A token that no expert computed counts 0. With `expert-choice` the sum is over the experts
 * that took the token.
 */
export function totalGate({ gate_TK }: Choice, { position_TK, capacity }: Placement): Tensor {
  const kept_TK =
    capacity === null ? gate_TK : multiply(gate_TK, cast(less(position_TK, constant(capacity, 'int32')), gate_TK.dtype))
  return mean(sum(kept_TK, { axes: [1] }))
}

/** Number of first choices of each expert in each group and prototype [G, N], int32. */
function firstChoices({ prototypes, experts, k }: MoeConfig, { expert_TK }: Choice, groups: number, tokens: number) {
  const first = slice(reshape(expert_TK, [groups, tokens, prototypes, k]), 3, 0, 1)
  const local = reshape(remainder(first, experts / prototypes), [groups, tokens, prototypes])
  return reshape(sum(oneHot(local, experts / prototypes, 'int32'), { axes: [1] }), [groups, experts])
}
