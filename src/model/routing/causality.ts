/**
 * Whether a token's loss can depend on tokens that come later.
 *
 * A causal language model writes one token after the other, so its loss must not use what it will not have. Attention
 * is masked; routing couples tokens by other ways: routers that look at a whole group of tokens, and queues in which
 * a later token may stand before an earlier one. `test/causality.test.ts` holds every answer against the program.
 */
import { isServedByPosition, type MoeConfig } from '../config.ts'
import { capacityOf } from './capacity.ts'
import type { CapacityRule } from './contract.ts'

/**
 * Which tokens at later positions than its own a token's loss can depend on: none (`causal`), those of other sequences
 * of its batch only (`other sequences`), or those of its own too (`future`).
 */
export type Causality = 'causal' | 'other sequences' | 'future'

export interface CausalityOf {
  readonly kind: Causality
  /** The setting of `model.moe` that makes it so; null when causal. */
  readonly cause: 'router' | 'priority' | null
}

/** A pass, as far as it decides. */
export interface Activity {
  /** `sinkhorn` balances the tokens of a pass in training only. */
  readonly activity: 'training' | 'evaluation'
  readonly rule: CapacityRule
  /** Sequences of a pass, and the tokens of each. */
  readonly batch: number
  readonly sequence: number
}

const CAUSAL: CausalityOf = { kind: 'causal', cause: null }

export function causalityOf(moe: MoeConfig, { activity, rule, batch, sequence }: Activity): CausalityOf {
  const group = (batch * sequence) / moe.groups
  const binds = capacityOf(moe, group, rule) !== null
  // Where every token goes to all experts of a prototype, no router has anything to choose.
  const chooses = moe.k * moe.prototypes < moe.experts
  if (sequence === 1 || group === 1 || moe.experts === moe.prototypes) return CAUSAL
  if (moe.router === 'expert-choice') return binds ? { kind: 'future', cause: 'router' } : CAUSAL
  if (moe.router === 'sinkhorn' && activity === 'training' && (chooses || binds))
    return { kind: 'future', cause: 'router' }
  // Random choices depend on no token at all.
  if (!binds || isServedByPosition(moe) || moe.router === 'random') return CAUSAL
  if (!servesByToken(moe)) return { kind: 'future', cause: 'priority' }
  // Sequence after sequence: an earlier sequence's last token stands before a later one's first.
  const spansSequences = batch > 1 && sequence % group !== 0
  return chooses && spansSequences ? { kind: 'other sequences', cause: 'priority' } : CAUSAL
}

/** Whether the queue of a group is in the order of its tokens: of equal ranks, or of equal gates, it always is. */
function servesByToken({ priority, k, softmax, renormalize }: MoeConfig): boolean {
  if (priority === 'choice') return k === 1
  if (priority === 'gate') return k === 1 && (softmax === 'after' || renormalize)
  return true
}
