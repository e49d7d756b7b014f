/**
 * A router with a memory of the last token: the expert of a token follows from its own activations and from those of
 * the token before it, logits = x·W + x₋₁·U, so "of the" and "of a" may go to different experts at "of".
 *
 *     choir check examples/routers/previous-token.ts
 *     choir train demo --set model.moe.router=examples/routers/previous-token.ts --set model.moe.prototypes=1
 */
import { add, concat, matmul, reshape, slice, softmax, topK, zeros } from 'choir/graph'
import type { Router } from 'choir'

const router: Router = {
  sees: 'past',
  parameters: ({ moe, width }) => ({
    weight: { shape: [width, moe.experts], init: 'normal' },
    before: { shape: [width, moe.experts], init: 'zeros' },
  }),
  choose({ moe, x_TD, weights, sequence }) {
    const [tokens = 0, width = 0] = x_TD.shape
    const sequences = tokens / sequence
    // The activations of the token before: zeros at the beginning of each sequence.
    const x_BSD = reshape(x_TD, [sequences, sequence, width])
    const first = zeros([sequences, 1, width], x_TD)
    const before_BSD = sequence === 1 ? first : concat([first, slice(x_BSD, 1, 0, sequence - 1)], 1)
    const before_TD = reshape(before_BSD, [tokens, width])
    const logits_TN = add(matmul(x_TD, weights.weight!), matmul(before_TD, weights.before!))
    const probability_TN = softmax(logits_TN)
    const [gate_TK, expert_TK] = topK(probability_TN, moe.k)
    const byPrototype = [tokens, 1, moe.experts]
    return {
      expert_TK,
      gate_TK,
      logits_TZN: reshape(logits_TN, byPrototype),
      probability_TZN: reshape(probability_TN, byPrototype),
    }
  },
}

export default router
