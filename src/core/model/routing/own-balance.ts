/** Balancing losses of a user's own: plugins that compute a scalar from the choices of a router. */
import { UsageError } from '../../errors.ts'
import type { Tensor } from '../../graph/tensor.ts'
import { Plugins } from '../../plugins.ts'
import type { MoeConfig } from '../config/moe-config.ts'
import type { Choice, Placement } from './contract.ts'

/** The choices of a router in a pass, before drops. */
export interface BalanceInput {
  readonly moe: MoeConfig
  /** The router's logits by prototype [T, Z, N/Z]. */
  readonly logits_TZN: Tensor
  /** The router's distribution over each prototype [T, Z, N/Z]. */
  readonly probability_TZN: Tensor
  /** Expert of each choice [T, K], int32: an index over all N. */
  readonly expert_TK: Tensor
  /** Weight of each choice [T, K], times `routedScale`. */
  readonly gate_TK: Tensor
  /** Number of choices of each expert in each group [G, N], int32; a count has no gradient. */
  readonly count_GN: Tensor
  /** Equal ranges G of consecutive tokens of the pass: group g has the tokens from g·T/G on. */
  readonly groups: number
}

/** A balancing loss with its name. Constants in it take the dtype of the logits, so that gradients can be checked. */
export interface OwnBalance {
  readonly name: string
  /**
   * The loss of one router in a pass, a scalar. `model.moe.balance.coefficient` times the sum over routers is added to
   * the objective. So that one process with G groups computes the same as G ranks with one group each, it is a mean
   * over groups.
   */
  readonly loss: (input: BalanceInput) => Tensor
}

/** Losses that `model.moe.balance.own` names. */
export const ownBalances = new Plugins<OwnBalance>('balancing loss', { loss: 'function' }, (balance) => ({
  ...balance,
  loss(input) {
    const fault = (message: string) => new UsageError(`balancing loss ${balance.name}: ${message}`)
    let loss: Partial<Tensor> | undefined
    try {
      loss = balance.loss(input)
    } catch (error) {
      throw fault(`loss: ${error instanceof Error ? error.message : String(error)}`)
    }
    const { dtype } = input.logits_TZN
    if (loss?.dtype === dtype && loss.shape?.length === 0) return loss as Tensor
    const found = loss?.shape ? `${loss.dtype} ${JSON.stringify(loss.shape)}` : String(loss)
    throw fault(`loss returned ${found} (expected a tensor ${dtype} [])`)
  },
}))

/**
 * The balancing loss of the user's own; undefined if the form is built in.
 * @throws UsageError if it is not loaded, or the router has no distribution that could be balanced
 */
export function ownBalanceLoss(moe: MoeConfig, choice: Choice, { count_GN }: Placement): Tensor | undefined {
  if (moe.balance.form !== 'own') return undefined
  const balance = ownBalances.get(moe.balance.own)
  const { logits_TZN, probability_TZN, expert_TK, gate_TK } = choice
  if (!logits_TZN || !probability_TZN)
    throw new UsageError(
      `balancing loss ${balance.name}: the router ${moe.own ?? moe.router} returns no logits and distribution (set model.moe.balance.form=switch)`,
    )
  const [groups = 1] = count_GN.shape
  return balance.loss({ moe, logits_TZN, probability_TZN, expert_TK, gate_TK, count_GN, groups })
}
