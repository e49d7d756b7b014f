/** The learned router as one op: the softmax, the best experts of each token, and the router's losses. */
import { emitKernel, hasKernel } from '../kernels/declaration.ts'
import * as kernels from '../kernels/router.ts'
import { dim, sizeOf } from '../shape.ts'
import { type Built, constant, defineOp, type Tensor } from '../tensor.ts'

/** Whether the runtime that we trace for has {@link routeTokens}. */
export const routesTokens = (): boolean => hasKernel(kernels.routeTokens)

export interface RouterRule {
  /** Equal groups G of tokens for the balancing loss. */
  readonly groups: number
  /** Choices in each prototype. */
  readonly k: number
  /** Whether the balancing loss counts first choices only (GShard). */
  readonly first: boolean
}

/**
 * Routes tokens by their logits [T, Z, n] for n experts in each of Z prototypes. The results are the k most probable
 * experts of every prototype, by their index over all Z·n experts, int32, and their probabilities [T, Z·k]; and the
 * losses, as scalars: balance (the mean of N · Σ f·P over groups and prototypes), z (the mean of logsumexp²), and
 * entropy, which has no gradient.
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
    const attributes: kernels.RouterAttributes = { groups, prototypes, k, first: first ? 1 : 0, tokens }
    const routed = emitKernel(kernels.routeTokens, { logits_TZN }, attributes)
    const { probability_TZN, logSum_TZ, expert_TK, gate_TK, sums } = routed
    const { balance, z, entropy, share_GN } = emitKernel(kernels.routerLosses, { sums }, attributes)
    return {
      result: [expert_TK, gate_TK, balance, z, entropy],
      inputs: [logits_TZN],
      gradient: (_, dGate, dBalance, dZ, dEntropy) => {
        if (dEntropy) throw new Error('internal: the entropy of a router has no gradient')
        const inputs = {
          probability_TZN,
          logSum_TZ,
          expert_TK,
          share_GN,
          dGate_TK: dGate ?? constant(new Float32Array(sizeOf(gate_TK.shape)), dtype, gate_TK.shape),
          dBalance: dBalance ?? constant(0, dtype),
          dZ: dZ ?? constant(0, dtype),
        }
        return [emitKernel(kernels.routeTokensGradient, inputs, attributes).dLogits_TZN]
      },
    }
  },
)
