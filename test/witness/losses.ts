/**
 * Losses and statistics: cross-entropy of the next token, the two losses of a router (balance and z), and the
 * entropy of the router's distribution.
 */
import type { MoeConfig } from '../../src/core/model/config/moe-config.ts'
import { at, logSumExp, type Matrix, mean, rowOf, sigmoid, softmax, sum, type Vector } from './arithmetic.ts'
import type { Routing } from './routing.ts'

/** Mean over the counted targets (≥ 0) of −ln softmax(logits)[target], nats. */
export function crossEntropy(logits_TV: Matrix, targets: Int32Array): number {
  const losses: number[] = []
  for (const [t, target] of targets.entries()) {
    if (target < 0) continue
    const logits = rowOf(logits_TV, t)
    losses.push(logSumExp(logits) - at(logits, target))
  }
  if (losses.length === 0) throw new Error('invalid targets: all are negative (expected at least one ≥ 0)')
  return mean(losses)
}

/**
 * The distribution of a token over the experts of a prototype: the softmax of its logits, or each sigmoid's share of
 * their sum (DeepSeek-V3, eq. 19).
 */
function distribution(logits: Vector, { scores = 'softmax' }: Partial<Pick<MoeConfig, 'scores'>>): number[] {
  if (scores === 'softmax') return softmax(logits)
  const affinities = logits.map(sigmoid)
  return affinities.map((affinity) => affinity / sum(affinities))
}

/**
 * Load-balancing loss of one layer before its coefficient, the mean over groups and prototypes of
 * N · Σ_i f_i · P_i with N the experts of the prototype; 1 at perfect balance.
 *
 * f_i is counted before drops. For `switch` it is expert i's share of all assignments (Switch Transformers, eq. 4 to
 * 6), for `gshard` its share of first choices (GShard, algorithm 1). P_i is the mean probability of i over the
 * group's tokens, by the distribution over all the prototype's experts.
 */
export function balanceLoss(routing: Routing, moe: MoeConfig): number {
  const { logits, prototypes: Z, assignments } = routing
  if (!logits) return 0
  const prototypeSize = moe.experts / Z
  const groupSize = logits.length / moe.groups
  const losses: number[] = []
  for (let g = 0; g < moe.groups; g++)
    for (let z = 0; z < Z; z++) {
      let product = 0
      for (let i = 0; i < prototypeSize; i++) {
        const expert = z * prototypeSize + i
        const ofPrototype = assignments.filter(
          (a) => Math.floor(a.expert / prototypeSize) === z && Math.floor(a.token / groupSize) === g,
        )
        const inGroup = ofPrototype.filter((a) => a.expert === expert)
        const share =
          moe.balance.form === 'switch'
            ? inGroup.length / ofPrototype.length
            : inGroup.filter(({ choice }) => choice === 0).length / groupSize
        const probabilities: number[] = []
        for (let token = g * groupSize; token < (g + 1) * groupSize; token++)
          probabilities.push(at(distribution(rowOf(rowOf(logits, token), z), moe), i))
        product += share * mean(probabilities)
      }
      losses.push(prototypeSize * product)
    }
  return mean(losses)
}

/** Mean over tokens and prototypes of logsumexp(router logits)² (ST-MoE, eq. 5), before its coefficient. */
export function routerZLoss({ logits }: Routing): number {
  if (!logits) return 0
  return mean(logits.flatMap((logits_Z) => logits_Z.map((own) => logSumExp(own) ** 2)))
}

/** Mean over tokens and prototypes of −Σ p ln p, nats; 0 for routers without weights (hash, random). */
export function routerEntropy({ logits }: Routing, moe: Partial<Pick<MoeConfig, 'scores'>> = {}): number {
  if (!logits) return 0
  const entropyOf = (probabilities: number[]) => -sum(probabilities.map((p) => (p === 0 ? 0 : p * Math.log(p))))
  return mean(logits.flatMap((logits_Z) => logits_Z.map((own) => entropyOf(distribution(own, moe)))))
}
