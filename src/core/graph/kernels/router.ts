/**
 * Kernels of the learned router: T tokens, Z prototypes of n of the N experts, K choices of a token, G equal groups of
 * tokens for the balancing loss. Indices are int32.
 */
import { dim } from '../shape.ts'
import { declareKernel } from './declaration.ts'

export type RouterAttributes = {
  /** Equal groups of tokens for the balancing loss. */
  readonly groups: number
  readonly prototypes: number
  /** Choices in each prototype. */
  readonly k: number
  /** Whether the balancing loss counts first choices only (GShard). */
  readonly first: 0 | 1
  readonly tokens: number
}

/** Number of bands of about 128 tokens in a group. Sums for the losses are computed for each band, then added up. */
export const bandsPerGroup = (tokens: number, groups: number): number => Math.max(1, Math.ceil(tokens / groups / 128))

/**
 * Routes tokens by their logits [T, Z, n] for n experts in each of Z prototypes. The results are the softmax in each
 * prototype and log Σ exp [T, Z]; the k most probable experts of every prototype, by their index over all N = Z·n, and
 * their probabilities [T, Z·k]; and the sums over the tokens of each band that the losses need, float64
 * [bands, 2·N + 2].
 */
export const routeTokens = declareKernel({
  name: 'route-tokens',
  inputs: ['logits_TZN'],
  outputs: ['probability_TZN', 'logSum_TZ', 'expert_TK', 'gate_TK', 'sums'],
  results: ({ logits_TZN: { dtype, shape } }, { groups, prototypes, k, tokens }: RouterAttributes) => ({
    probability_TZN: { dtype, shape },
    logSum_TZ: { dtype, shape: [tokens, prototypes] },
    expert_TK: { dtype: 'int32', shape: [tokens, prototypes * k] },
    gate_TK: { dtype, shape: [tokens, prototypes * k] },
    sums: { dtype: 'float64', shape: [groups * bandsPerGroup(tokens, groups), 2 * prototypes * dim(shape, 2) + 2] },
  }),
  local: true,
})

/**
 * The losses from the sums of {@link routeTokens}, as scalars: balance (the mean of N · Σ f·P over groups and
 * prototypes), z (the mean of logsumexp²), and entropy; and n · f [G, N], each expert's share of the choices relative
 * to an even share.
 */
export const routerLosses = declareKernel({
  name: 'router-losses',
  inputs: ['sums'],
  outputs: ['balance', 'z', 'entropy', 'share_GN'],
  results: ({ sums }, { groups }: RouterAttributes) => {
    const scalar = { dtype: 'float32', shape: [] } as const
    const share_GN = { dtype: 'float32', shape: [groups, (dim(sums.shape, 1) - 2) / 2] } as const
    return { balance: scalar, z: scalar, entropy: scalar, share_GN }
  },
  local: true,
})

/** The gradient of the logits from the gradients of the gates, of balance and of z. */
export const routeTokensGradient = declareKernel({
  name: 'route-tokens-gradient',
  inputs: ['probability_TZN', 'logSum_TZ', 'expert_TK', 'share_GN', 'dGate_TK', 'dBalance', 'dZ'],
  outputs: ['dLogits_TZN'],
  results: ({ probability_TZN }, _: RouterAttributes) => ({ dLogits_TZN: probability_TZN }),
  local: true,
})
