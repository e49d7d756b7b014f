/**
 * The loop over layers, written once. Training and evaluation (`transformer.ts`), a token through ONNX Runtime
 * (`decode.ts`) and a token through kernels (`token.ts`) differ in how attention, dense networks and experts are
 * computed, and pass these parts in.
 */
import { add, multiply } from '../graph/ops/elementwise.ts'
import { layerNorm, rmsNorm } from '../graph/ops/fused.ts'
import { scope, type Tensor } from '../graph/tensor.ts'
import type { MoeConfig } from './config/moe-config.ts'
import { embeddingScaleOf, type ModelConfig } from './config.ts'
import { type FfnWeights, weightsOf } from './ffn.ts'
import { isOwnLayer, isSparse, ownLayerName, type Parameters } from './parameters.ts'

/** How the parts of a layer are computed. Rows are tokens: [T, D], or [1, D] for a single token. */
export interface LayerParts {
  /** Attention of a layer on its normed input. */
  attend(normed: Tensor, layer: number): Tensor
  /** A dense feed-forward network. */
  dense(normed: Tensor, weights: FfnWeights): Tensor
  /** The residual stream `x` of a sparse layer with `residualScale` times the experts' output added. */
  addExperts(x: Tensor, normed: Tensor, layer: number, moe: MoeConfig): Tensor
  /** The user's own layer; absent where none can be computed: a model with one writes text by computing the context. */
  own?(normed: Tensor, layer: number): Tensor
  /** Multiplication by a constant; default: {@link scaled}. */
  readonly scaled?: Scale
}

/** x times a constant. */
export type Scale = (x: Tensor, factor: number) => Tensor

export interface LayersResult {
  /** The activations after the final norm. */
  readonly x: Tensor
  /** The residual stream before each layer, and after the last. */
  readonly stream: readonly Tensor[]
}

export function layers(
  config: ModelConfig,
  parameters: Parameters,
  embedded: Tensor,
  { attend, dense, addExperts, own, scaled: scaledBy = scaled }: LayerParts,
): LayersResult {
  const norm = (x: Tensor, name: string): Tensor =>
    config.norm === 'rms'
      ? rmsNorm(x, parameters.get(name), config.normEpsilon)
      : layerNorm(x, parameters.get(name), parameters.get(`${name}.bias`), config.normEpsilon)
  const added = (x: Tensor, branch: Tensor): Tensor => add(x, scaledBy(branch, config.residualScale))
  const { moe } = config
  let x = embedded
  const stream = [x]
  for (let layer = 0; layer < config.layers; layer++) {
    const name = `layers.${layer}`
    x = scope(`${name}.attention`, () => added(x, attend(norm(x, `${name}.attention.norm`), layer)))
    if (isOwnLayer(config, layer)) {
      if (!own) throw new Error("internal: the user's own layer cannot be computed token by token")
      const prefix = ownLayerName(layer)
      x = scope(prefix, () => added(x, own(norm(x, `${prefix}.norm`), layer)))
    } else if (moe && isSparse(config, layer))
      x = scope(`${name}.moe`, () => addExperts(x, norm(x, `${name}.moe.norm`), layer, moe))
    else
      x = scope(`${name}.ffn`, () => {
        const normed = norm(x, `${name}.ffn.norm`)
        const weights = weightsOf(config, (matrix) => parameters.get(`${name}.ffn.${matrix}`))
        return added(x, dense(normed, weights))
      })
    stream.push(x)
  }
  return { x: scope('norm', () => norm(x, 'norm')), stream }
}

/** The input of the first layer. `rowsOf` reads the rows of a table for each token, or for its position. */
export function embed(
  config: ModelConfig,
  rowsOf: (table: 'embedding' | 'positions') => Tensor,
  scaledBy: Scale = scaled,
): Tensor {
  const x = rowsOf('embedding')
  return scaledBy(config.positions === 'learned' ? add(x, rowsOf('positions')) : x, embeddingScaleOf(config))
}

/** x times a constant; x itself if the constant is 1. */
export const scaled: Scale = (x, factor) => (factor === 1 ? x : multiply(x, factor))
