/**
 * A dense feed-forward network that reads the token itself again: the hidden activations are gelu(x·U + b), where b is the
 * row of the token in a table, which begins at zero. A lookup takes no matrix product, so the layer costs what a dense
 * network does. It is a control for routers that follow from the token, such as a hash: their experts are told the token
 * too. The setting `rows` is the number of rows; with fewer than the vocabulary, several tokens share one.
 *
 *     choir check examples/layers/token-bias.ts
 *     choir train demo --set model.moe=null --set model.layer.kind=examples/layers/token-bias.ts \
 *       --set model.layer.settings.rows=2048
 */
import { add, gather, gelu, matmul, remainder } from 'choir/graph'
import type { OwnLayer } from 'choir'

const layer: Omit<OwnLayer, 'name'> = {
  sees: 'token',
  settings: { rows: 1024 },
  parameters: ({ width, hidden, settings: { rows } }) => ({
    up: { shape: [width, hidden], init: 'normal' },
    bias: { shape: [Number(rows), hidden], init: 'zeros' },
    down: { shape: [hidden, width], init: 'branch' },
  }),
  apply({ x_TD, weights, tokens_T, settings: { rows } }) {
    const bias_TH = gather(weights.bias!, remainder(tokens_T, Number(rows)))
    return matmul(gelu(add(matmul(x_TD, weights.up!), bias_TH)), weights.down!)
  },
}

export default layer
