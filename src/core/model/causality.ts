/**
 * Whether a token's loss can depend on tokens that come later.
 *
 * A causal language model writes one token after the other, so its loss must not use later tokens. Attention is
 * masked, but routing, or a layer of the user's own, also couples tokens: some routers look at a whole group of tokens, and in some queues a later
 * token may be served before an earlier one. `test/causality.test.ts` checks every answer against the program.
 */

import { isServedByPosition, type MoeConfig } from './config/moe-config.ts'
import type { ModelConfig } from './config.ts'
import { ownLayers } from './own/layer.ts'
import { capacityOf } from './routing/capacity.ts'
import type { CapacityRule } from './routing/contract.ts'
import { routerOf } from './routing/routers.ts'

/**
 * Which tokens at later positions a token's loss can depend on: no tokens (`causal`), only tokens of other sequences of
 * its batch (`other sequences`), or tokens of its own sequence too (`future`).
 */
export type Causality = 'causal' | 'other sequences' | 'future'

export interface CausalityAnswer {
  readonly kind: Causality
  /** The setting of `model.moe` that causes the dependence, or the layer of the user's own; null if causal. */
  readonly cause: 'router' | 'priority' | 'layer' | null
}

/** The properties of a pass that decide causality. */
export interface Activity {
  /** `sinkhorn` balances the tokens of a pass in training only. */
  readonly activity: 'training' | 'evaluation'
  readonly rule: CapacityRule
  /** Number of sequences in a pass, and of tokens in each. */
  readonly batch: number
  readonly sequence: number
}

const CAUSAL: CausalityAnswer = { kind: 'causal', cause: null }

export function causalityOf({ moe, layer }: Pick<ModelConfig, 'moe' | 'layer'>, activity: Activity): CausalityAnswer {
  if (layer && ownLayers.get(layer.own).sees === 'batch' && activity.sequence > 1)
    return { kind: 'future', cause: 'layer' }
  return moe ? causalityOfRouting(moe, activity) : CAUSAL
}

function causalityOfRouting(moe: MoeConfig, { activity, rule, batch, sequence }: Activity): CausalityAnswer {
  const group = (batch * sequence) / moe.groups
  const binds = capacityOf(moe, group, rule) !== null
  // If every token goes to all experts of its prototypes, the router has no choice.
  const chooses = moe.k * moe.prototypes < moe.experts
  const { sees } = routerOf(moe)
  const seesLater = sees === 'batch' || (sees === 'batch in training' && activity === 'training')
  if (moe.router === 'own' && seesLater && sequence > 1) return { kind: 'future', cause: 'router' }
  if (sequence === 1 || group === 1 || moe.experts === moe.prototypes) return CAUSAL
  if (moe.router === 'expert-choice') return binds ? { kind: 'future', cause: 'router' } : CAUSAL
  if (seesLater && (chooses || binds)) return { kind: 'future', cause: 'router' }
  // Random choices do not depend on tokens.
  if (!binds || isServedByPosition(moe) || moe.router === 'random') return CAUSAL
  if (!servesByToken(moe)) return { kind: 'future', cause: 'priority' }
  // A queue goes sequence after sequence: the last token of one sequence comes before the first of the next.
  const spansSequences = batch > 1 && sequence % group !== 0
  return chooses && spansSequences ? { kind: 'other sequences', cause: 'priority' } : CAUSAL
}

/**
 * Whether the queue of a group is in the order of its tokens. With priority `choice` it is if there are only first
 * choices, and with `gate` if all gates are equal.
 */
function servesByToken({ priority, k, softmax, renormalize }: MoeConfig): boolean {
  if (priority === 'choice') return k === 1
  if (priority === 'gate') return k === 1 && (softmax === 'after' || renormalize)
  return true
}
