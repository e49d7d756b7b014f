/**
 * Experts in place of a dense module: route, dispatch, compute the experts, combine. One function for
 * feed-forward networks and for the projections of attention, which differ in what an expert computes.
 */
import { add, cast, multiply, sigmoid } from '../graph/ops/elementwise.ts'
import { matmul } from '../graph/ops/matmul.ts'
import { sum } from '../graph/ops/reduction.ts'
import { scope, type Tensor } from '../graph/tensor.ts'
import type { MoeConfig } from './config/moe-config.ts'
import { moduleName, type RoutedModule } from './config/moe-config.ts'
import type { ModelConfig } from './config.ts'
import { type Sharing, startExperts } from './expert-rows.ts'
import { type Experts, ffnExperts, linearExperts } from './experts.ts'
import { startFfn, weightsOf } from './ffn.ts'
import type { Past } from './kv-cache.ts'
import { type Parameters, sharedMix } from './parameters.ts'
import { placeChoices } from './routing/capacity.ts'
import type { CapacityRule, Choice, RouterLosses } from './routing/contract.ts'
import { routerLosses, totalGate, unservedRate } from './routing/losses.ts'
import { route, routerWeights } from './routing/routers.ts'

/** How the model runs in one pass: the shape of its input and the routing of its tokens. */
export interface Pass {
  readonly batch: number
  readonly sequence: number
  /** Whether routers choose as in training, where the `sinkhorn` router balances the tokens of a pass. */
  readonly training: boolean
  readonly capacity: CapacityRule
  /** How ranks share the experts of a layer; default: this rank has all of them. */
  readonly sharing?: Sharing | undefined
  /**
   * Whether the experts of tokens are given, as inputs by `choicesName`: int32 [T, K], of which negative numbers leave the
   * choice to the router. Gates are those of the model. Default: no.
   */
  readonly replay?: boolean
  /** Earlier positions of the sequence, if the pass is of one sequence and does not begin at its beginning. */
  readonly past?: Past
  /** The first position that each token sees in its own sequence, counted from the first row of `past`, int32 [T]; default: 0. */
  readonly firstVisible_T?: Tensor
  /** Coefficient of the balancing loss, a scalar; default: `balance.coefficient` as a constant. */
  readonly balanceCoefficient?: Tensor
}

/** Statistics and choices of a routed module in a pass. */
export interface RoutingReport {
  readonly layer: number
  readonly module: RoutedModule
  /** Capacity of an expert in a group; null if nothing can be dropped. */
  readonly capacity: number | null
  /** Number of choices of each expert before drops [N], float. */
  readonly count_N: Tensor
  /** Number of choices of each expert after drops [N], float. */
  readonly kept_N: Tensor
  /** Share of tokens that no expert computed; null if every token is certain to have an expert. */
  readonly unserved: Tensor | null
  /** Mean over tokens of the sum of the gates of their kept choices. */
  readonly gate: Tensor
  /** The choice of each token; with `position_TK` it serves to trace single tokens. */
  readonly choice: Choice
  /** Position of each choice in its expert's queue [T, K], int32; a choice is kept if it is below `capacity`. */
  readonly position_TK: Tensor
  /** Null for a router without weights. */
  readonly losses: RouterLosses | null
}

export interface MoeInput {
  readonly config: ModelConfig
  readonly moe: MoeConfig
  readonly parameters: Parameters
  readonly layer: number
  /** Input of the module: normed activations [T, D], or for the output projection the result of attention. */
  readonly x_TD: Tensor
  /** Ids of the tokens [T], int32. */
  readonly tokens_T: Tensor
  /** Experts chosen by the caller [T, K], for hash and random routing. */
  readonly given_TK?: Tensor
  /** Experts of a replay [T, K]. */
  readonly replayed_TK?: Tensor
  readonly pass: Pass
}

export interface Routed {
  /** Output of the module, where X is the output width of the experts. */
  readonly y_TX: Tensor
  readonly report: RoutingReport
}

/** The feed-forward network of a sparse layer. */
export function moeLayer(inputs: MoeInput): Routed {
  const { config, moe, parameters, layer, x_TD } = inputs
  const name = moduleName(layer, 'ffn')
  const finish = startMixture(inputs, 'ffn', ffnExperts(config, parameters, name, x_TD.dtype))
  if (moe.sharedHidden === 0) return finish()
  const finishShared = scope('shared', () => startShared(inputs, name))
  const { y_TX: routed_TD, report } = finish()
  return { y_TX: scope('shared', () => add(routed_TD, finishShared())), report }
}

/**
 * The shared expert. Its last op comes after the sum over the choices of a token, on whichever rank these are computed:
 * an earlier result could be fused into that sum as its first term, which changes the bits.
 */
function startShared({ config, moe, parameters, x_TD }: MoeInput, name: string): () => Tensor {
  const weights = weightsOf(config, (matrix) => parameters.get(`${name}.shared.${matrix}`))
  const finish = startFfn(x_TD, weights)
  if (!moe.sharedGate) return finish
  const y_TD = finish()
  const gate_T1 = sigmoid(matmul(x_TD, parameters.get(sharedMix(name))))
  return () => multiply(y_TD, gate_T1)
}

/** A projection of a sparse layer's attention: y = Σ gate · x·W_e over the kept choices (M6-T, MoE attention). */
export function moeProjection(inputs: MoeInput, module: 'qkv' | 'output'): Routed {
  const { parameters, layer, x_TD } = inputs
  return startMixture(inputs, module, linearExperts(parameters, moduleName(layer, module), x_TD.dtype))()
}

/** Starts to compute y = Σ gate · E(x) over the kept choices of each token. Call the result for it (`startExperts`). */
function startMixture(inputs: MoeInput, module: RoutedModule, experts: Experts): () => Routed {
  const { moe, parameters, layer, x_TD, given_TK, replayed_TK, pass } = inputs
  const name = moduleName(layer, module)
  const { choice, placement, losses, unserved, gate } = scope('router', () => {
    const choice = route({
      moe,
      x_TD,
      weights: routerWeights({ moe, width: x_TD.shape[1] as number }, parameters, `${name}.router`),
      tokens_T: inputs.tokens_T,
      sequence: pass.sequence,
      ...(given_TK && { given_TK }),
      ...(replayed_TK && { replayed_TK }),
      training: pass.training,
    })
    const placement = placeChoices(moe, choice, { groups: moe.groups, sequence: pass.sequence, rule: pass.capacity })
    const losses = routerLosses(moe, choice, placement)
    const unserved = unservedRate(placement, x_TD.dtype)
    return { choice, placement, losses, unserved, gate: totalGate(choice, placement) }
  })

  const finish = scope('experts', () => startExperts({ moe, x_TD, choice, placement, experts, sharing: pass.sharing }))

  const total = (x_GN: Tensor) => cast(sum(x_GN, { axes: [0] }), x_TD.dtype)
  return () => ({
    y_TX: scope('experts', finish),
    report: {
      layer,
      module,
      capacity: placement.capacity,
      count_N: total(placement.count_GN),
      kept_N: total(placement.kept_GN),
      unserved,
      gate,
      choice,
      position_TK: placement.position_TK,
      losses,
    },
  })
}
