/** Work of one device for one micro-batch: the components of a layer, of embedding and head. */
import { type RoutedModule, routedModules } from '../../../core/model/parameters.ts'
import { outputProjection, queryKeyValue, scores } from './attention.ts'
import { type Component, network, norm, noWork, residual, type Slice } from './components.ts'
import type { ModelLoads, RankLoad } from './load.ts'
import { type ModelTraffic, mixture } from './mixture.ts'

export interface LayerWork {
  readonly components: readonly Component[]
  /** Size of the layer's input, which is all that full recomputation keeps. */
  readonly inputBytes: number
  readonly loads: readonly RankLoad[]
}

export function layerWork(slice: Slice, layer: number, loads: ModelLoads, traffic: ModelTraffic | null): LayerWork {
  const { model, tokens, bytes, sequenceShare } = slice
  const routed = routedModules(model, layer)
  const mixtures = routed.map((module) => ({
    module,
    ...mixture(slice, module, loads(layer, module), traffic?.(layer, module) ?? null),
  }))
  const componentsOf = (module: RoutedModule) => mixtures.find((each) => each.module === module)?.components
  return {
    inputBytes: tokens * model.width * bytes * sequenceShare,
    loads: mixtures.map(({ load }) => load),
    components: [
      norm(slice, 'attention'),
      ...(componentsOf('qkv') ?? queryKeyValue(slice)),
      scores(slice, layer),
      ...(componentsOf('output') ?? [outputProjection(slice)]),
      residual(slice, 'attention'),
      ...(componentsOf('ffn') ?? [norm(slice, 'dense'), network(slice, model.hidden), residual(slice, 'dense')]),
    ],
  }
}

/** Work of the embedding. The forward pass reads rows of the table; the backward pass adds gradients to rows. */
export function embeddingWork({ model, tokens, bytes, tensor, sequenceShare }: Slice): Component {
  return {
    ...noWork,
    kind: 'embedding',
    // Each tensor-parallel rank has a part of the vocabulary.
    tensorBytes: tensor > 1 ? tokens * model.width * bytes : 0,
    passBytes: 2 * tokens * model.width * bytes * sequenceShare,
    gradientPassBytes: 3 * tokens * model.width * bytes * sequenceShare,
    kernels: 1,
  }
}

/** Work of the head: final norm, logits, softmax and cross-entropy. Softmax and loss are in float32. */
export function headWork(slice: Slice): Component {
  const { model, tokens, tensor, bytes } = slice
  const cells = (tokens * model.vocabulary) / tensor
  const own = norm(slice, 'head')
  return {
    ...own,
    products: [{ count: 1, m: tokens, n: model.vocabulary / tensor, k: model.width }],
    // Tensor-parallel ranks add up the gradient of the head's input.
    tensorBytes: tensor > 1 ? tokens * model.width * bytes : 0,
    // The passes are conversion to float32 and softmax, and backward their gradients.
    passBytes: own.passBytes + cells * (bytes + 3 * 4),
    gradientPassBytes: own.gradientPassBytes + cells * (3 * 4 + bytes),
    kernels: own.kernels + 3,
  }
}

/** Bytes of the logits, in the precision of the product and in float32, and of their float32 gradient. */
export const logitsBytes = ({ model, tokens, tensor, bytes }: Slice): number =>
  ((tokens * model.vocabulary) / tensor) * (bytes === 4 ? 8 : bytes + 8)
