/**
 * The routers. `top-k`, `switch` and `prototype` are one learned router with different settings; `sinkhorn`
 * and `bias` differ from it only in the scores by which experts are chosen.
 */
import {
  add,
  broadcastTo,
  divide,
  greaterOrEqual,
  multiply,
  sigmoid,
  subtract,
  where,
} from '../../graph/ops/elementwise.ts'
import { softmax } from '../../graph/ops/fused.ts'
import { takeAlong } from '../../graph/ops/indexing.ts'
import { matmul } from '../../graph/ops/matmul.ts'
import { topK } from '../../graph/ops/order.ts'
import { sum } from '../../graph/ops/reduction.ts'
import { routesTokens, routeTokens } from '../../graph/ops/router.ts'
import { reshape } from '../../graph/ops/shape.ts'
import { sinkhorn } from '../../graph/ops/sinkhorn.ts'
import { constant, type Tensor } from '../../graph/tensor.ts'
import type { MoeConfig } from '../config/moe-config.ts'
import type { Choice, Router, RouterInput, RouterParameter, RouterShape } from './contract.ts'
import { ownRouters } from './own.ts'
import { bestExperts, inBestGroups } from './selection.ts'

/** The outputs of a linear router, by prototype [T, Z, N/Z]. */
interface Scores {
  readonly logits_TZN: Tensor
  readonly probability_TZN: Tensor
  /** The scores from which gates are computed: logits, probabilities or sigmoids. */
  readonly score_TZN: Tensor
}

/** Number added to divisors, so that quotients are finite if all sigmoids round to 0 (as in DeepSeek-V3's code). */
const TINY = 1e-20

const sumOf = (scores: Tensor): Tensor => sum(scores, { axes: [-1], keepDims: true })

function scoresOf({ moe, x_TD, weights }: RouterInput): Scores {
  const { prototypes, experts } = moe
  const [tokens = 0] = x_TD.shape
  const logits_TZN = reshape(matmul(x_TD, weights.weight as Tensor), [tokens, prototypes, experts / prototypes])
  if (moe.scores === 'sigmoid') {
    const score_TZN = sigmoid(logits_TZN)
    return { logits_TZN, probability_TZN: divide(score_TZN, add(sumOf(score_TZN), TINY)), score_TZN }
  }
  const probability_TZN = softmax(logits_TZN)
  return { logits_TZN, probability_TZN, score_TZN: moe.softmax === 'before' ? probability_TZN : logits_TZN }
}

/**
 * Chooses the k' best experts of every prototype by a linear router. The gate is the softmax over the prototype's
 * experts, or over the chosen experts (`softmax: after`), or the sigmoid of the expert's logit. With `renormalize` it
 * is divided by its sum over the prototype's choices. (M6-T, section 3; Switch Transformers, eq. 1-2; GShard, algorithm
 * 1; DeepSeek-V3, eq. 12-16.) With `expertGroups`, experts outside the best groups of the token are not chosen.
 * @param preference Scores by which experts are chosen; default: the scores from which gates are computed.
 */
const chooseBest =
  (preference?: (scores: Scores, input: RouterInput) => Tensor): Router['choose'] =>
  (input) => {
    const { moe, x_TD, replayed_TK } = input
    const { prototypes, k, experts } = moe
    const [tokens = 0] = x_TD.shape
    if (!preference && !replayed_TK && isPlain(moe) && routesTokens()) return routeAtOnce(input)
    const scores = scoresOf(input)
    const { logits_TZN, probability_TZN, score_TZN } = scores
    const preferred_TZN = inBestGroups(preference?.(scores, input) ?? score_TZN, moe)
    const first = constant(
      Int32Array.from({ length: prototypes }, (_, z) => (z * experts) / prototypes),
      'int32',
      [prototypes, 1],
    )
    const own =
      moe.selection === 'fused' && preferred_TZN === score_TZN
        ? topK(score_TZN, k)
        : withScores(score_TZN, bestExperts(preferred_TZN, moe))
    const [best, local] = replayed_TK
      ? withScores(score_TZN, replaced(own[1], subtract(reshape(replayed_TK, [tokens, prototypes, k]), first)))
      : own
    const gate = moe.softmax === 'before' ? best : softmax(best)
    const normalized = moe.renormalize ? divide(gate, totalOf(gate, moe)) : gate
    return {
      expert_TK: reshape(add(local, first), [tokens, prototypes * k]),
      gate_TK: reshape(normalized, [tokens, prototypes * k]),
      logits_TZN,
      probability_TZN,
    }
  }

/**
 * Whether a token goes to the experts with the largest probabilities, these are its gates, and the balancing loss is
 * built in.
 */
const isPlain = (moe: MoeConfig): boolean =>
  moe.scores === 'softmax' &&
  moe.softmax === 'before' &&
  moe.selection === 'fused' &&
  moe.groupsPerToken === moe.expertGroups &&
  !moe.renormalize &&
  moe.balance.form !== 'own'

function routeAtOnce({ moe, x_TD, weights }: RouterInput): Choice {
  const { prototypes, experts, k, groups } = moe
  const shape = [x_TD.shape[0] as number, prototypes, experts / prototypes]
  const logits_TZN = reshape(matmul(x_TD, weights.weight as Tensor), shape)
  const rule = { groups, k, first: moe.balance.form === 'gshard' }
  const [expert_TK, gate_TK, balance, z, entropy] = routeTokens(logits_TZN, rule)
  return { expert_TK, gate_TK, logits_TZN, losses: { balance, z, entropy } }
}

/** The sum by which gates are divided. A sum of softmax gates is at least 1/N, but sigmoids may all round to 0. */
const totalOf = (gate: Tensor, { scores }: MoeConfig): Tensor =>
  scores === 'sigmoid' ? add(sumOf(gate), TINY) : sumOf(gate)

/** Replayed choices [T, Z, k] in place of a router's own, except where they are negative. */
const replaced = (own: Tensor, replayed: Tensor): Tensor => where(greaterOrEqual(replayed, 0), replayed, own)

const withScores = (score_TZN: Tensor, local: Tensor) => [takeAlong(score_TZN, local, 2), local] as const

/** The matrix [D, N] of a linear router. */
const matrix = ({ moe, width }: RouterShape): Record<string, RouterParameter> => ({
  weight: { shape: [width, moe.experts], init: 'normal' },
})

const linear: Router = { parameters: matrix, choose: chooseBest() }

/**
 * In training, Sinkhorn's iteration assigns the tokens of a group to experts in even shares, and the best
 * experts are chosen by that assignment (Clark et al. 2022, S-BASE; as in Megatron-LM). In other passes they
 * are chosen by score.
 */
const sinkhornRouter: Router = {
  parameters: matrix,
  choose: chooseBest(({ logits_TZN, score_TZN }, { moe, training }) => {
    if (!training) return score_TZN
    const [tokens = 0] = logits_TZN.shape
    const logits_GTN = reshape(logits_TZN, [moe.groups, tokens / moe.groups, moe.experts])
    return reshape(sinkhorn(logits_GTN, moe.sinkhornIterations), [tokens, 1, moe.experts])
  }),
  sees: 'batch in training',
}

/** Chooses by score plus a bias [N] that training moves against the load (Wang et al. 2024, eq. 3). */
const biasRouter: Router = {
  parameters: (shape) => ({ ...matrix(shape), bias: { shape: [shape.moe.experts], init: 'zeros' } }),
  choose: chooseBest(({ score_TZN }, { weights }) => add(score_TZN, weights.bias as Tensor)),
}

/**
 * Every token chooses all N experts, with their probabilities as gates; `placeChoices` picks tokens (Zhou et al. 2022).
 */
const expertChoiceRouter: Router = {
  parameters: matrix,
  choose: (input) => {
    const { experts } = input.moe
    const { logits_TZN, probability_TZN } = scoresOf(input)
    const shape = [logits_TZN.shape[0] as number, experts]
    const every = Int32Array.from({ length: experts }, (_, e) => e)
    return {
      expert_TK: broadcastTo(constant(every, 'int32', [1, experts]), shape),
      gate_TK: reshape(probability_TZN, shape),
      logits_TZN,
      probability_TZN,
    }
  },
  sees: 'batch',
}

/** Experts chosen by the caller (by a hash of the token, or at random), each with gate 1/k. */
const givenRouter: Router = {
  choose: ({ moe, x_TD, given_TK }) => ({
    expert_TK: given_TK as Tensor,
    gate_TK: broadcastTo(constant(1 / moe.k, x_TD.dtype), (given_TK as Tensor).shape),
  }),
}

const builtIn: Record<Exclude<MoeConfig['router'], 'own'>, Router> = {
  'top-k': linear,
  switch: linear,
  prototype: linear,
  sinkhorn: sinkhornRouter,
  bias: biasRouter,
  'expert-choice': expertChoiceRouter,
  hash: givenRouter,
  random: givenRouter,
}

/** The router of a configuration. @throws UsageError if it is a router of the user's own that is not loaded */
export const routerOf = (moe: MoeConfig): Router =>
  moe.router === 'own' ? ownRouters.get(moe.own) : builtIn[moe.router]

/** The parameters of the router of a module, by their names in the model, where `prefix` is the name of the matrix. */
export function routerParameters(
  shape: Omit<RouterShape, 'settings'>,
  prefix: string,
): { readonly name: string; readonly key: string; readonly parameter: RouterParameter }[] {
  const { moe } = shape
  const parameters = routerOf(moe).parameters?.({ ...shape, settings: moe.settings }) ?? {}
  return Object.entries(parameters).map(([key, parameter]) => ({
    name: key === 'weight' ? prefix : `${prefix}.${key}`,
    key,
    parameter,
  }))
}

/** Whether the router learns. The width of the model does not decide it. */
export const hasRouterWeights = (moe: MoeConfig): boolean => routerParameters({ moe, width: 1024 }, '').length > 0

/** The parameters of a router as `RouterInput.weights`; `prefix` is the name of the router's matrix. */
export const routerWeights = (
  shape: Omit<RouterShape, 'settings'>,
  parameters: { get(name: string): Tensor },
  prefix: string,
): Readonly<Record<string, Tensor>> =>
  Object.fromEntries(routerParameters(shape, prefix).map(({ name, key }) => [key, parameters.get(name)]))

/** The choice of each token; its gates include `routedScale` (DeepSeek-V2, `routed_scaling_factor`). */
export function route(input: Omit<RouterInput, 'settings'>): Choice {
  const { settings, routedScale } = input.moe
  const choice = routerOf(input.moe).choose({ ...input, settings })
  return routedScale === 1 ? choice : { ...choice, gate_TK: multiply(choice.gate_TK, routedScale) }
}
