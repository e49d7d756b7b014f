/** A sparse expert layer: route, dispatch, compute the experts, combine. */
import {
  add,
  cast,
  combine,
  combineRagged,
  dispatch,
  dispatchRagged,
  expertFfnKernel,
  hasKernel,
  kernelTile,
  reshape,
  scope,
  sum,
  type Tensor,
} from '../graph/index.ts'
import type { ModelConfig, MoeConfig } from './config.ts'
import { type FfnWeights, ffn } from './ffn.ts'
import type { Parameters } from './parameters.ts'
import { place } from './routing/capacity.ts'
import { type RouterLosses, routerLosses, unservedRate } from './routing/losses.ts'
import { route, routerWeights } from './routing/routers.ts'
import { paddedSlots, raggedSlots, tileFor } from './routing/slots.ts'

/** What a sparse layer tells besides its result. */
export interface RoutingReport {
  readonly layer: number
  /** Capacity of an expert in a group; null when nothing can be dropped. */
  readonly capacity: number | null
  /** Choices of each expert, before drops and after [N], float. */
  readonly count_N: Tensor
  readonly kept_N: Tensor
  /** Share of tokens that no expert computed; null when none can be left out. */
  readonly unserved: Tensor | null
  /** Null for a router without weights. */
  readonly losses: RouterLosses | null
}

export interface MoeInput {
  readonly config: ModelConfig
  readonly moe: MoeConfig
  readonly parameters: Parameters
  readonly layer: number
  /** Normed activations [T, D]. */
  readonly x_TD: Tensor
  /** Experts given from outside [T, K], for hash and random routing. */
  readonly given_TK?: Tensor
  readonly training: boolean
}

export function moeLayer(inputs: MoeInput): { y_TD: Tensor; report: RoutingReport } {
  const { config, moe, parameters, layer, x_TD, given_TK, training } = inputs
  const name = `layers.${layer}.moe`
  const { choice, placement, losses, unserved } = scope('router', () => {
    const choice = route({
      moe,
      x_TD,
      ...routerWeights(moe, parameters, `${name}.router`),
      ...(given_TK && { given_TK }),
      training,
    })
    const placement = place(moe, choice, moe.groups, training)
    const losses = routerLosses(moe, choice, placement)
    return { choice, placement, losses, unserved: unservedRate(placement, x_TD.dtype) }
  })

  const routed_TD = scope('experts', () => {
    const experts = `${name}.experts.{e}`
    if (hasKernel('expert-ffn', x_TD.dtype)) {
      // Rows close together whatever the capacity: the kernel computes no empty slot.
      const [tokens = 0, choices = 0] = choice.expert_TK.shape
      const perExpert = Math.min(tokens * choices, (placement.capacity ?? Infinity) * moe.experts) / moe.experts
      const plan = raggedSlots(choice, placement, moe.experts, tileFor(perExpert, kernelTile()))
      const weights = weightsOf(config, (matrix) => parameters.get(`${experts}.${matrix}`))
      return combine(expertFfnKernel(dispatch(x_TD, plan), weights, plan.sizes), choice.gate_TK, plan)
    }
    if (isRagged(moe)) {
      const plan = raggedSlots(choice, placement, moe.experts)
      const weights = unstack(weightsOf(config, (matrix) => parameters.experts(`${experts}.${matrix}`)))
      const rows = dispatchRagged(x_TD, plan).map((rows, e) => ffn(rows, weights[e] as FfnWeights))
      return combineRagged(rows, choice.gate_TK, plan)
    }
    const plan = paddedSlots(choice, placement, moe.experts)
    const [slots = 0] = plan.tokenOfSlot.shape
    const in_NRD = reshape(dispatch(x_TD, plan), [moe.experts, slots / moe.experts, config.width])
    const out_NRD = ffn(
      in_NRD,
      weightsOf(config, (matrix) => parameters.get(`${experts}.${matrix}`)),
    )
    return combine(reshape(out_NRD, [slots, config.width]), choice.gate_TK, plan)
  })

  const y_TD =
    moe.sharedHidden > 0
      ? scope('shared', () =>
          add(
            routed_TD,
            ffn(
              x_TD,
              weightsOf(config, (matrix) => parameters.get(`${name}.shared.${matrix}`)),
            ),
          ),
        )
      : routed_TD
  const total = (x_GN: Tensor) => cast(sum(x_GN, { axes: [0] }), x_TD.dtype)
  return {
    y_TD,
    report: {
      layer,
      capacity: placement.capacity,
      count_N: total(placement.count_GN),
      kept_N: total(placement.kept_GN),
      unserved,
      losses,
    },
  }
}

/** Capacity 1x fills its slots, so padding wastes little; otherwise rows are computed expert by expert. */
const isRagged = ({ compute, capacity }: MoeConfig): boolean =>
  compute === 'ragged' || (compute === 'auto' && capacity !== '1x')

/** The matrices of a feed-forward network, by a function that finds one by name. */
export function weightsOf<T>(config: ModelConfig, find: (matrix: string) => T): { up: T; gate?: T; down: T } {
  return {
    up: find('up'),
    ...(config.activation === 'swiglu' && { gate: find('gate') }),
    down: find('down'),
  }
}

const unstack = ({ up, gate, down }: { up: readonly Tensor[]; gate?: readonly Tensor[]; down: readonly Tensor[] }) =>
  up.map(
    (_, e): FfnWeights => ({
      up: up[e] as Tensor,
      ...(gate && { gate: gate[e] as Tensor }),
      down: down[e] as Tensor,
    }),
  )
