/**
 * Routing in three steps, each a contract of its own:
 *
 * 1. a *router* turns token activations into choices: which experts, with which gate weight (`Choice`);
 * 2. *capacity* turns choices into positions in the experts' queues, and drops choices that do not fit (`Placement`);
 * 3. *slots* turn positions into rows of the experts' input (`SlotMap`, in the graph's expert ops).
 *
 * The N experts form Z prototypes of N/Z; a token makes k' choices in each, K = Z·k' in all. Choice
 * z·k' + j of a token is the j-th best of prototype z. A plain top-k router has Z = 1.
 *
 * With `expert-choice`, a token's choices are all N experts in order, and its positions show which of them took it.
 *
 * @example Two tokens, four experts in two prototypes, k' = 1:
 * ```
 * expert_TK = [[0, 3], [1, 3]]      token 0 goes to experts 0 and 3, token 1 to 1 and 3
 * gate_TK   = [[.9, .6], [.7, .8]]
 * capacity 1, priority by token:
 * position_TK = [[0, 0], [0, 1]]    token 1 is second in the queue of expert 3, and is dropped there
 * ```
 */
import type { Shape } from '../../graph/model.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { PluginSettings } from '../../plugins.ts'
import type { MoeConfig } from '../config/moe-config.ts'

/**
 * A router: its parameters, and the function that makes its choices. The built-in routers (`routers.ts`) and routers of
 * a user's own (`own.ts`) have this one interface.
 */
export interface Router {
  /** Its parameters in a layer, by name; default: none. `weight` is a matrix, as the linear routers have. */
  readonly parameters?: (shape: RouterShape) => Readonly<Record<string, RouterParameter>>
  readonly choose: (input: RouterInput) => Choice
  /**
   * The tokens that a token's choice depends on: itself (`token`, the default), earlier tokens of its sequence too
   * (`past`), any token of the pass (`batch`), or any token in training and itself otherwise (`batch in training`).
   */
  readonly sees?: 'token' | 'past' | 'batch' | 'batch in training'
}

export interface RouterShape {
  readonly moe: MoeConfig
  /** Width D of the activations that the router reads. */
  readonly width: number
  /** The router's own settings: its defaults, replaced by `model.moe.settings`. */
  readonly settings: PluginSettings
}

export interface RouterParameter {
  readonly shape: Shape
  /**
   * Initial values: zeros, ones, or a truncated normal with the deviation of routers: `train.init.router` · √(1 / rows),
   * where the rows are the first dimension.
   */
  readonly init: 'zeros' | 'ones' | 'normal'
}

export interface RouterInput {
  readonly moe: MoeConfig
  /** Normed activations [T, D]. */
  readonly x_TD: Tensor
  /** The parameters of the router, by the names that `Router.parameters` gives them. */
  readonly weights: Readonly<Record<string, Tensor>>
  /** Ids of the tokens [T], int32. */
  readonly tokens_T: Tensor
  /** Tokens of a sequence: token t of the pass has position t mod `sequence`. */
  readonly sequence: number
  /** Experts chosen by the caller [T, K] int32, for hash and random routing. */
  readonly given_TK?: Tensor
  /** In a replay, experts [T, K] int32 in place of those that a router would choose by its scores, unless negative. */
  readonly replayed_TK?: Tensor
  /**
   * Whether the pass is a training pass. In other passes, a token's choice does not depend on other tokens, except with
   * `expert-choice`.
   */
  readonly training: boolean
  /** As in {@link RouterShape}. */
  readonly settings: PluginSettings
}

/** The decision of a router. */
export interface Choice {
  /** Expert of each choice [T, K], int32: an index over all N. The experts of a token are distinct. */
  readonly expert_TK: Tensor
  /** Weight of each choice [T, K], from 0 to `routedScale`; differentiable. */
  readonly gate_TK: Tensor
  /** The router's logits by prototype [T, Z, N/Z]; absent if the router has no weights. */
  readonly logits_TZN?: Tensor
  /**
   * The router's distribution over each prototype: the softmax of its logits, or their sigmoids divided by their sum.
   */
  readonly probability_TZN?: Tensor
  /** The losses, if they are computed together with the choice. */
  readonly losses?: RouterLosses
}

/** The losses of a router and its entropy, as scalars. */
export interface RouterLosses {
  /** N · Σ_i f_i · P_i: 1 at perfect balance. */
  readonly balance: Tensor
  /** Mean of logsumexp(logits)² (ST-MoE, eq. 5). */
  readonly z: Tensor
  /** Mean entropy of the router's distribution, nats; a statistic, not part of the objective. */
  readonly entropy: Tensor
}

/**
 * Which capacity a pass enforces: the capacity of training (`factor`), the capacity of evaluation (`evalFactor`), or
 * none. Except with `none`, the result of a token depends on the other tokens of its batch.
 */
export type CapacityRule = (typeof capacityRules)[number]

/** The rules, in the order in which they are displayed. */
export const capacityRules = ['train', 'eval', 'none'] as const

/** The properties of a pass that a placement depends on, besides the choices. */
export interface QueueInput {
  /** Number of equal groups of consecutive tokens; capacity is enforced within each. */
  readonly groups: number
  /** Tokens of a sequence: token t of a pass has position t mod `sequence`. */
  readonly sequence: number
  readonly rule: CapacityRule
}

/** The queue position of each choice. */
export interface Placement {
  /** Position in the expert's queue within the group [T, K], int32, from 0; from `capacity` on, choices are dropped. */
  readonly position_TK: Tensor
  /**
   * Number of choices of each expert in each group [G, N], int32, before drops. With `expert-choice`, the number of
   * tokens that the expert took.
   */
  readonly count_GN: Tensor
  /** Number of choices of each expert in each group [G, N], int32, after drops. */
  readonly kept_GN: Tensor
  /** Largest number of choices that an expert takes in a group; null if nothing can be dropped. */
  readonly capacity: number | null
}
