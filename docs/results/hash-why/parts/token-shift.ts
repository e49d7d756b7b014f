/**
 * A dense feed-forward network that reads the token before too (token shift: Peng et al. 2023, arXiv 2305.13048, in its
 * simplest form): the hidden activations are gelu(x·U + x₋₁·B), where x₋₁ are the activations of the token before. It is
 * a control for routers that see the token before.
 *
 *     choir check examples/layers/token-shift.ts
 *     choir train demo --set model.moe=null --set model.layer.kind=examples/layers/token-shift.ts
 */
import { add, concat, gelu, matmul, reshape, slice, zeros } from 'choir/graph'
import type { OwnLayer } from 'choir'

const layer: Omit<OwnLayer, 'name'> = {
  sees: 'past',
  parameters: ({ width, hidden }) => ({
    up: { shape: [width, hidden], init: 'normal' },
    before: { shape: [width, hidden], init: 'normal' },
    down: { shape: [hidden, width], init: 'branch' },
  }),
  apply({ x_TD, weights, sequence }) {
    const [tokens = 0, width = 0] = x_TD.shape
    const sequences = tokens / sequence
    // The activations of the token before: zeros at the beginning of each sequence.
    const x_BSD = reshape(x_TD, [sequences, sequence, width])
    const first = zeros([sequences, 1, width], x_TD)
    const before_BSD = sequence === 1 ? first : concat([first, slice(x_BSD, 1, 0, sequence - 1)], 1)
    const before_TD = reshape(before_BSD, [tokens, width])
    return matmul(gelu(add(matmul(x_TD, weights.up!), matmul(before_TD, weights.before!))), weights.down!)
  },
}

export default layer
