/**
 * The program of the next tokens of R texts, for models without experts in attention. The program itself chooses the
 * experts, and a kernel reads only the chosen ones, each once for all texts. Weights are float32, or quantized
 * (`quantized-matrices.ts`).
 *
 * What is computed for a text has the same bits whatever the other texts are, and whether there are any.
 */
import { add } from '../graph/ops/elementwise.ts'
import { attendCached, chooseExperts, rowProduct, scaledRow } from '../graph/ops/token.ts'
import type { Bits } from '../graph/quantized-layout.ts'
import { dim } from '../graph/shape.ts'
import { constant, input, scope, type Tensor } from '../graph/tensor.ts'
import { normQueriesAndKeys } from './attention.ts'
import type { MoeConfig } from './config/moe-config.ts'
import { activatedExperts } from './config/moe-config.ts'
import { attentionColumns, attentionScaleOf, headScaleOf, headWidthOf, type ModelConfig, windowOf } from './config.ts'
import { type FfnWeights, weightsOf } from './ffn.ts'
import { cacheName, nextCacheName, pageOf, pagesFor } from './kv-cache.ts'
import { embed, layers, type Scale } from './layers.ts'
import { type Parameters, sharedMix } from './parameters.ts'
import { routerWeights } from './routing/routers.ts'
import { float32Products, quantizedProducts, type TokenProducts } from './token-products.ts'
import { choicesName, linear, queryKeyNorms } from './transformer.ts'

export interface TokenProgramOptions {
  /** Number of tokens, R. */
  readonly rows: number
  /** Number of pages in the caches, N. */
  readonly pages: number
  /** Bits of quantized weights, which are inputs by `quantizedName`. Default: weights are float32. */
  readonly bits?: Bits | undefined
  /** Whether the experts and gates [R, K] that routers with weights choose are outputs too, by {@link routeName}. */
  readonly routes?: boolean
}

/**
 * The outputs of the program by name: the logits [R, V], and the caches with the tokens' keys and values. Its inputs,
 * besides parameters, are `token` and `position` int32 [R], the `pages` of each text int32 [R, ⌈S/P⌉], the caches
 * [N·P, KV·d] by {@link cacheName}, for rotary positions `cos` and `sin` of the positions' angles [R, d/2], and the
 * experts [R, K] of a router without weights by {@link choicesName}. The outputs of the caches have the names of {@link nextCacheName}; bind them to the same memory.
 */
export function tokenProgram(
  config: ModelConfig,
  parameters: Parameters,
  { rows, pages, bits, routes = false }: TokenProgramOptions,
): Readonly<Record<string, Tensor>> {
  const products = bits ? quantizedProducts(config, bits) : float32Products
  const { heads, sequence, residualScale } = config
  const page = pageOf(config)
  const places = {
    position: input('position', 'int32', [rows]),
    pages: input('pages', 'int32', [rows, pagesFor(config, sequence)]),
  }
  const size = headWidthOf(config)
  const angle = (name: string) => input(name, 'float32', [rows, size / 2])
  const angles = config.positions === 'rotary' ? ([angle('cos'), angle('sin')] as const) : null
  const caches: Record<string, Tensor> = {}
  const chosen: Record<string, Tensor> = {}

  const embedded = scope('embedding', () => {
    const index = { embedding: input('token', 'int32', [rows]), positions: places.position }
    return embed(config, (table) => products.rows(parameters.get(table), index[table]), scaled)
  })
  const { x } = layers(config, parameters, embedded, {
    scaled,
    attend(normed, layer) {
      const project = (x: Tensor, module: 'qkv' | 'output') =>
        linear(config, parameters, layer, module, (w) => products.row(x, w))
      const qkv = normQueriesAndKeys(config, project(normed, 'qkv'), queryKeyNorms(config, parameters, layer))
      const table = [pages * page, attentionColumns(config).keys]
      const cache = (kind: 'keys' | 'values') => input(cacheName(layer, kind), 'float32', table)
      const cached = { keys: cache('keys'), values: cache('values') }
      const shape = { heads, sequence, page, scale: attentionScaleOf(config), window: windowOf(config, layer) }
      const [y, keys, values] = attendCached(qkv, places, cached, angles, shape)
      caches[nextCacheName(layer, 'keys')] = keys as Tensor
      caches[nextCacheName(layer, 'values')] = values as Tensor
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
        const choices = [rows, activatedExperts(moe)]
        return [
          input(choicesName(layer), 'int32', choices),
          constant(equalGates(moe, rows), 'float32', choices),
        ] as const
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
  return { logits, ...caches, ...(routes && chosen) }
}

/** Name of the output with the experts, or the gates, that the router of a layer chose. */
export const routeName = (layer: number, kind: 'experts' | 'gates'): string => `layers.${layer}.moe.chosen.${kind}`

/** The gates [R, K] of a router without weights. */
export const equalGates = (moe: MoeConfig, rows: number): Float32Array =>
  new Float32Array(rows * activatedExperts(moe)).fill(moe.routedScale / moe.k)

const scaled: Scale = (x, factor) => (factor === 1 ? x : scaledRow(x, factor))

/** A dense feed-forward network, as an expert that is always chosen. */
const alwaysChosen = (products: TokenProducts, x: Tensor, weights: FfnWeights, factor?: Tensor): Tensor => {
  const rows = dim(x.shape, 0)
  const all = (value: number, dtype: 'int32' | 'float32') => constant(Array<number>(rows).fill(value), dtype, [rows, 1])
  return products.experts(x, all(0, 'int32'), factor ?? all(1, 'float32'), weights)
}

/** sigmoid(x·mix) [R, 1], as the gate of a choice among one expert. */
function sigmoidGate(x: Tensor, mix: Tensor): Tensor {
  const [, gate] = chooseExperts(rowProduct(x, mix), {
    ...{ prototypes: 1, k: 1, scores: 'sigmoid', softmax: 'before', renormalize: false, routedScale: 1 },
    ...{ expertGroups: 1, groupsPerToken: 1, groupScore: 'max' },
  })
  return gate
}
