/**
 * The program of one token, for models without experts in attention. The program itself chooses the experts, and a kernel reads only the chosen ones. Weights
 * are float32, or quantized (`quantized-matrices.ts`).
 */
import { add } from '../../graph/ops/elementwise.ts'
import { reshape } from '../../graph/ops/shape.ts'
import { attendCached, chooseExperts, rowProduct, scaledRow, tableRow } from '../../graph/ops/token.ts'
import type { Bits } from '../../graph/quantized-layout.ts'
import { constant, input, scope, type Tensor } from '../../graph/tensor.ts'
import { normQueriesAndKeys } from '../attention.ts'
import { attentionColumns, attentionScaleOf, headScaleOf, headWidthOf, type ModelConfig, windowOf } from '../config.ts'
import { type FfnWeights, weightsOf } from '../ffn.ts'
import { embed, layers, type Scale } from '../layers.ts'
import type { MoeConfig } from '../moe-config.ts'
import { activatedExperts, type Parameters, sharedMix } from '../parameters.ts'
import { routerWeights } from '../routing/routers.ts'
import { choicesName, linear, queryKeyNorms } from '../transformer.ts'
import { cacheName } from './cache.ts'
import { float32Products, quantizedProducts, type TokenProducts } from './products.ts'

/**
 * The outputs of the program by name: the logits [V], and the caches with the token's keys and values. Its inputs,
 * besides parameters, are `token` and `position` int32 [1], the caches [S, KV·d] by {@link cacheName}, for rotary
 * positions `cos` and `sin` of the position's angles [1, d/2], and the experts [1, K] of a router without weights by
 * {@link choicesName}. The outputs of the caches have the same names plus `.next`; bind them to the same memory.
 * @param bits Bits of quantized weights, which are inputs by `quantizedName`; default: weights are float32.
 * @param routes Whether the experts and gates [1, K] that routers with weights choose are outputs too, by
 * {@link routeName}.
 */
export function tokenProgram(
  config: ModelConfig,
  parameters: Parameters,
  bits?: Bits,
  routes = false,
): Readonly<Record<string, Tensor>> {
  const products = bits ? quantizedProducts(config, bits) : float32Products
  const { heads, residualScale } = config
  const position = input('position', 'int32', [1])
  const size = headWidthOf(config)
  const angle = (name: string) => input(name, 'float32', [1, size / 2])
  const angles = config.positions === 'rotary' ? ([angle('cos'), angle('sin')] as const) : null
  const caches: Record<string, Tensor> = {}
  const chosen: Record<string, Tensor> = {}

  const embedded = scope('embedding', () => {
    const rows = { embedding: input('token', 'int32', [1]), positions: position }
    return embed(config, (table) => tableRow(parameters.get(table), rows[table]), scaled)
  })
  const { x } = layers(config, parameters, embedded, {
    scaled,
    attend(normed, layer) {
      const project = (x: Tensor, module: 'qkv' | 'output') =>
        linear(config, parameters, layer, module, (w) => products.row(x, w))
      const qkv = normQueriesAndKeys(config, project(normed, 'qkv'), queryKeyNorms(config, parameters, layer))
      const table = [config.sequence, attentionColumns(config).keys]
      const cache = (kind: 'keys' | 'values') => input(cacheName(layer, kind), 'float32', table)
      const cached = { keys: cache('keys'), values: cache('values') }
      const shape = { heads, size, scale: attentionScaleOf(config), window: windowOf(config, layer) }
      const [y, keys, values] = attendCached(qkv, position, cached, angles, shape)
      caches[`${cacheName(layer, 'keys')}.next`] = keys as Tensor
      caches[`${cacheName(layer, 'values')}.next`] = values as Tensor
      return project(y as Tensor, 'output')
    },
    dense: (normed, weights) => alwaysChosen(products, normed, weights),
    addExperts(x, normed, layer, moe) {
      const name = `layers.${layer}.moe`
      const [experts, gates] = scope('router', () => {
        const { weight, bias } = routerWeights({ moe, width: config.width }, parameters, `${name}.router`)
        if (weight) {
          const [expert, gate] = chooseExperts(rowProduct(normed, weight), moe, bias)
          chosen[routeName(layer, 'experts')] = expert
          chosen[routeName(layer, 'gates')] = gate
          return [expert, gate] as const
        }
        const choices = [1, activatedExperts(moe)]
        return [input(choicesName(layer), 'int32', choices), constant(equalGates(moe), 'float32', choices)] as const
      })
      const shared = (matrix: string) => parameters.get(`${name}.shared.${matrix}`)
      const addShared = () => {
        const gate = moe.sharedGate ? sigmoidGate(normed, parameters.get(sharedMix(name))) : undefined
        return add(x, scaled(alwaysChosen(products, normed, weightsOf(config, shared), gate), residualScale))
      }
      const withShared = moe.sharedHidden > 0 ? scope('shared', addShared) : x
      const expert = (matrix: string) => parameters.get(`${name}.experts.{e}.${matrix}`)
      return scope('experts', () =>
        add(withShared, scaled(products.experts(normed, experts, gates, weightsOf(config, expert)), residualScale)),
      )
    },
  })
  const logits = scope('head', () =>
    products.head(scaled(x, headScaleOf(config)), parameters.get(config.tied ? 'embedding' : 'head')),
  )
  return { logits: reshape(logits, [config.vocabulary]), ...caches, ...(routes && chosen) }
}

/** Name of the output with the experts, or the gates, that the router of a layer chose. */
export const routeName = (layer: number, kind: 'experts' | 'gates'): string => `layers.${layer}.moe.chosen.${kind}`

/** The gates [K] of a router without weights. */
export const equalGates = (moe: MoeConfig): Float32Array =>
  new Float32Array(activatedExperts(moe)).fill(moe.routedScale / moe.k)

const scaled: Scale = (x, factor) => (factor === 1 ? x : scaledRow(x, factor))

/** A dense feed-forward network, as an expert that is always chosen. */
const alwaysChosen = (
  products: TokenProducts,
  x: Tensor,
  weights: FfnWeights,
  factor = constant([1], 'float32', [1, 1]),
): Tensor => products.experts(x, constant([0], 'int32', [1, 1]), factor, weights)

/** sigmoid(x·mix) [1, 1], as the gate of a choice among one expert. */
function sigmoidGate(x: Tensor, mix: Tensor): Tensor {
  const [, gate] = chooseExperts(rowProduct(x, mix), {
    ...{ prototypes: 1, k: 1, scores: 'sigmoid', softmax: 'before', renormalize: false, routedScale: 1 },
    ...{ expertGroups: 1, groupsPerToken: 1, groupScore: 'max' },
  })
  return gate
}
