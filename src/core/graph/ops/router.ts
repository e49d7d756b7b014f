/** The learned router as one op: softmax, the best experts of a token, and the router's losses. */
import { dim, sizeOf } from '../shape.ts'
import { type Built, constant, defineOp, emitKernel, hasKernel, type Tensor } from '../tensor.ts'

/** Whether the runtime that we trace for has {@link routeTokens}. */
export const routesTokens = (): boolean => hasKernel('route-tokens', 'float32')

export interface RouterRule {
  /** Equal groups G of tokens for the balancing loss. */
  readonly groups: number
  /** Choices in each prototype. */
  readonly k: number
  /** Whether the balancing loss counts first choices only (GShard). */
  readonly first: boolean
}

/** Of the kernels. */
export interface RouterAttributes {
  readonly groups: number
  readonly prototypes: number
  readonly k: number
  readonly first: 0 | 1
  readonly tokens: number
}

/** Bands of about 128 tokens of a group, whose sums for the losses are added up. */
export const bandsPerGroup = (tokens: number, groups: number): number => Math.max(1, Math.ceil(tokens / groups / 128))

/**
 * From logits [T, Z, n]: for each token the k experts of every prototype with the largest probabilities, by their index
 * over all Z·n experts, int32, and these probabilities [T, Z·k]; and the losses, scalars: balance (N · Σ f·P for each
 * group and prototype, and their mean), z (mean of logsumexp²), and entropy, which has no gradient.
 */
export const routeTokens: (
  logits_TZN: Tensor,
  rule: RouterRule,
) => readonly [expert_TK: Tensor, gate_TK: Tensor, balance: Tensor, z: Tensor, entropy: Tensor] = defineOp(
  'route-tokens',
  'kernel',
  (logits_TZN: Tensor, { groups, k, first }: RouterRule): Built<readonly [Tensor, Tensor, Tensor, Tensor, Tensor]> => {
    const { dtype, shape } = logits_TZN
    const [tokens, prototypes] = [dim(shape, 0), dim(shape, 1)]
    const experts = prototypes * dim(shape, 2)
    const options = {
      attributes: { groups, prototypes, k, first: first ? 1 : 0, tokens },
      local: true,
    } as const
    const choices = [tokens, prototypes * k]
    const bands = groups * bandsPerGroup(tokens, groups)
    const [probability, logSum, expert, gate, sums] = emitKernel(
      'route-tokens',
      [logits_TZN],
      [
        { dtype, shape },
        { dtype, shape: [tokens, prototypes] },
        { dtype: 'int32', shape: choices },
        { dtype, shape: choices },
        { dtype: 'float64', shape: [bands, 2 * experts + 2] },
      ],
      options,
    ) as [Tensor, Tensor, Tensor, Tensor, Tensor]
    const scalar = { dtype, shape: [] }
    const losses = [scalar, scalar, scalar, { dtype, shape: [groups, experts] }]
    const [balance, z, entropy, share] = emitKernel('router-losses', [sums], losses, options) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ]
    return {
      result: [expert, gate, balance, z, entropy],
      inputs: [logits_TZN],
      gradient: (_, dGate, dBalance, dZ, dEntropy) => {
        if (dEntropy) throw new Error('internal: the entropy of a router has no gradient')
        const nothing = constant(new Float32Array(sizeOf(choices)), dtype, choices)
        const inputs = [probability, logSum, expert, share, dGate ?? nothing]
        const ofLosses = [dBalance, dZ].map((loss) => loss ?? constant(0, dtype))
        return emitKernel('route-tokens-gradient', [...inputs, ...ofLosses], [{ dtype, shape }], options)
      },
    }
  },
)
