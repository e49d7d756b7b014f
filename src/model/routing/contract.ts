/**
 * Routing in three steps, each a contract of its own:
 *
 * 1. a *router* turns token activations into choices: which experts, with which gate weight (`Choice`);
 * 2. *capacity* turns choices into places in the experts' queues, and drops what does not fit (`Placement`);
 * 3. *slots* turn places into rows of the experts' input (`SlotPlan`, in the graph's expert ops).
 *
 * Experts are in Z prototypes of N/Z; a token makes k' choices in each, K = Z·k' in all. Choice
 * z·k' + j of a token is the j-th best of prototype z. A plain top-k router is Z = 1.
 *
 * Where the experts choose (`expert-choice`) a token's choices are all N experts, expert by expert, and the
 * places say which of them have taken it.
 *
 * @example Two tokens, four experts in two prototypes, k' = 1:
 * ```
 * expert_TK = [[0, 3], [1, 3]]      token 0 goes to experts 0 and 3, token 1 to 1 and 3
 * gate_TK   = [[.9, .6], [.7, .8]]
 * capacity 1, priority by token:
 * position_TK = [[0, 0], [0, 1]]    token 1 is second in the queue of expert 3, and is dropped there
 * ```
 */
import type { Tensor } from '../../graph/tensor.ts'
import type { MoeConfig } from '../config.ts'

export interface RouterInput {
  readonly moe: MoeConfig
  /** Normed activations [T, D]. */
  readonly x_TD: Tensor
  /** Weights [D, N] of a learned router. */
  readonly router_DN?: Tensor
  /** Added to the scores for the choice alone [N], for the `bias` router. */
  readonly bias_N?: Tensor
  /** Experts given from outside [T, K] int32, for hash and random routing. */
  readonly given_TK?: Tensor
  /** Outside training a token's choice depends on no other token's, except with `expert-choice`. */
  readonly training: boolean
}

/** What a router decides. */
export interface Choice {
  /** Global id of the expert of each choice [T, K], int32. The experts of a token are distinct. */
  readonly expert_TK: Tensor
  /** Weight of each choice [T, K], in [0, 1]; differentiable. */
  readonly gate_TK: Tensor
  /** The router's logits by prototype [T, Z, N/Z], and their softmax; absent when the router has no weights. */
  readonly logits_TZN?: Tensor
  readonly probability_TZN?: Tensor
}

export type Router = (input: RouterInput) => Choice

/**
 * Which capacity holds in a pass: that of training (`factor`), that of evaluation (`evalFactor`), or none.
 * What a token computes depends on the other tokens of its batch, except with `none`.
 */
export type CapacityRule = (typeof capacityRules)[number]

/** In the order in which they are shown. */
export const capacityRules = ['train', 'eval', 'none'] as const

/** What places depend on besides the choices. */
export interface QueueInput {
  /** Equal runs of consecutive tokens, within each of which capacity is enforced. */
  readonly groups: number
  /** Tokens of a sequence: token t of a pass stands at position t mod `sequence`. */
  readonly sequence: number
  readonly rule: CapacityRule
}

/** Where each choice stands. */
export interface Placement {
  /** Rank in the expert's queue, within the group of tokens [T, K], int32, from 0; `capacity` or more: dropped. */
  readonly position_TK: Tensor
  /**
   * Choices of each expert in each group [G, N], int32, before drops and after. With `expert-choice` both are
   * the tokens that the expert took: none asked.
   */
  readonly count_GN: Tensor
  readonly kept_GN: Tensor
  /** Most choices that an expert takes in a group; null when nothing can be dropped. */
  readonly capacity: number | null
}
