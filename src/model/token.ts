/**
 * One token as one program, for runtimes with kernels and models without experts in attention. `decode.ts` is the
 * counterpart without kernels. The program itself chooses the experts, and a kernel reads only the chosen ones.
 */
import { add } from '../graph/ops/elementwise.ts'
import { reshape } from '../graph/ops/shape.ts'
import { attendCached, chooseExperts, type RowExperts, rowExperts, rowProduct, tableRow } from '../graph/ops/token.ts'
import { constant, input, scope, type Tensor } from '../graph/tensor.ts'
import { embeddingScaleOf, headScaleOf, type ModelConfig } from './config.ts'
import { cacheName } from './decode.ts'
import { type FfnWeights, weightsOf } from './ffn.ts'
import { normOf } from './norm.ts'
import { activatedExperts, isSparse, type Parameters } from './parameters.ts'
import { routerWeights } from './routing/routers.ts'
import { choicesName, scaled } from './transformer.ts'

/**
 * Logits [V], and the caches with the token's keys and values. Inputs besides parameters: `token` and
 * `position` int32 [1], the caches [S, D] by {@link cacheName}, `cos` and `sin` of the position's angles [1, d/2]
 * (rotary), and the experts [1, K] of a router without weights by {@link choicesName}. The outputs of the caches
 * have the same names plus `.next`; bind them to the same memory.
 */
export function tokenProgram(config: ModelConfig, parameters: Parameters): Readonly<Record<string, Tensor>> {
  const { moe, width, heads } = config
  const norm = normOf(config, parameters)
  const position = input('position', 'int32', [1])
  const size = width / heads
  const angle = (name: string) => input(name, 'float32', [1, size / 2])
  const angles = config.positions === 'rotary' ? ([angle('cos'), angle('sin')] as const) : null
  const caches: Record<string, Tensor> = {}

  let x = scope('embedding', () => {
    const row = tableRow(parameters.get('embedding'), input('token', 'int32', [1]))
    const placed = config.positions === 'learned' ? add(row, tableRow(parameters.get('positions'), position)) : row
    return scaled(placed, embeddingScaleOf(config))
  })
  for (let layer = 0; layer < config.layers; layer++) {
    const name = `layers.${layer}`
    x = scope(`${name}.attention`, () => {
      const qkv = rowProduct(norm(x, `${name}.attention.norm`), parameters.get(`${name}.attention.qkv`))
      const cache = (kind: 'keys' | 'values') => input(cacheName(layer, kind), 'float32', [config.sequence, width])
      const cached = { keys: cache('keys'), values: cache('values') }
      const [y, keys, values] = attendCached(qkv, position, cached, angles, { heads, scale: 1 / Math.sqrt(size) })
      caches[`${cacheName(layer, 'keys')}.next`] = keys as Tensor
      caches[`${cacheName(layer, 'values')}.next`] = values as Tensor
      return add(x, rowProduct(y as Tensor, parameters.get(`${name}.attention.output`)))
    })
    if (moe && isSparse(config, layer)) {
      const normed = scope(`${name}.moe`, () => norm(x, `${name}.moe.norm`))
      const [experts, gates] = scope(`${name}.moe.router`, () => {
        const { router_DN, bias_N } = routerWeights(moe, parameters, `${name}.moe.router`)
        if (router_DN) return chooseExperts(rowProduct(normed, router_DN), moe, bias_N)
        const choices = [1, activatedExperts(moe)]
        const equalGates = new Float32Array(activatedExperts(moe)).fill(1 / moe.k)
        return [input(choicesName(layer), 'int32', choices), constant(equalGates, 'float32', choices)] as const
      })
      const shared = (matrix: string) => parameters.get(`${name}.moe.shared.${matrix}`)
      if (moe.sharedHidden > 0)
        x = scope(`${name}.moe.shared`, () => add(x, alwaysChosen(normed, weightsOf(config, shared))))
      const expert = (matrix: string) => parameters.get(`${name}.moe.experts.{e}.${matrix}`)
      x = scope(`${name}.moe.experts`, () => add(x, rowExperts(normed, experts, gates, weightsOf(config, expert))))
    } else {
      const dense = (matrix: string) => parameters.get(`${name}.ffn.${matrix}`)
      x = scope(`${name}.ffn`, () => add(x, alwaysChosen(norm(x, `${name}.ffn.norm`), weightsOf(config, dense))))
    }
  }
  const last = scope('norm', () => norm(x, 'norm'))
  const logits = scope('head', () =>
    rowProduct(scaled(last, headScaleOf(config)), parameters.get(config.tied ? 'embedding' : 'head'), {
      transposed: true,
    }),
  )
  return { logits: reshape(logits, [config.vocabulary]), ...caches }
}

/** A dense feed-forward network, as an expert that is always chosen. */
function alwaysChosen(x: Tensor, { up, gate, down }: FfnWeights): Tensor {
  const stacked = (matrix: Tensor) => reshape(matrix, [1, ...matrix.shape])
  const weights: RowExperts = { up: stacked(up), ...(gate && { gate: stacked(gate) }), down: stacked(down) }
  return rowExperts(x, constant([0], 'int32', [1, 1]), constant([1], 'float32', [1, 1]), weights)
}
