/** Work of one device for one micro-batch: the components of a layer, of embedding and head. */
import { type RoutedModule, routedModules } from '../../model/parameters.ts'
import { type Component, network, norm, noWork, residual, type Slice } from './components.ts'
import type { ModelLoads, RankLoad } from './load.ts'
import { type ModelTraffic, mixture } from './mixture.ts'

export interface LayerWork {
  readonly components: readonly Component[]
  /** Size of the layer's input, all that full recomputation keeps. */
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
      ...(componentsOf('qkv') ?? [projection(slice, 3 * model.width)]),
      scores(slice),
      ...(componentsOf('output') ?? [projection(slice, model.width)]),
      residual(slice, 'attention'),
      ...(componentsOf('ffn') ?? [norm(slice, 'dense'), network(slice, model.hidden), residual(slice, 'dense')]),
    ],
  }
}

/** Projection to queries, keys and values (3·D columns, divided by columns), or of the output (divided by rows). The component before it keeps its input. */
function projection({ model: { width }, tokens, tensor }: Slice, columns: number): Component {
  const product =
    columns > width
      ? { count: 1, m: tokens, n: columns / tensor, k: width }
      : { count: 1, m: tokens, n: width, k: width / tensor }
  return { ...noWork, kind: 'attention', products: [product] }
}

/**
 * Rotary positions, scores, softmax, values. Keeps queries, keys, values and the result; with rotary positions
 * also the rotated queries and keys, since the originals share memory with the values.
 */
function scores({ model, plan, sequences, tokens, tensor, bytes }: Slice): Component {
  const { width, heads, sequence, positions } = model
  const own = (tokens * width * bytes) / tensor
  const rotary = positions === 'rotary' ? 4 * own : 0
  const count = (sequences * heads) / tensor
  const head = width / heads
  const kept = (positions === 'rotary' ? 6 : 4) * own
  if (plan.attention === 'fused')
    // Half of the scores, since attention is causal. Also kept: a float32 per row.
    return {
      ...noWork,
      kind: 'attention',
      fusedFlops: count * sequence * sequence * head * 2,
      fusedQueries: count * sequence,
      passBytes: rotary,
      gradientPassBytes: rotary,
      kernels: 1,
      keptBytes: kept + count * sequence * 4,
    }
  const cells = count * sequence * sequence
  // Softmax with scaling and mask is one pass, dropout another. Kept: probabilities, the result and mask of dropout.
  const passBytes = cells * (plan.dropout ? 4 * bytes + 1 : 2 * bytes)
  const gradientPassBytes = cells * (plan.dropout ? 5 * bytes + 1 : 3 * bytes)
  const products = [
    { count, m: sequence, n: sequence, k: head },
    { count, m: sequence, n: head, k: sequence },
  ]
  const scoresBytes = cells * (plan.dropout ? 2 * bytes + 1 : bytes)
  return {
    ...noWork,
    kind: 'attention',
    products,
    passBytes: rotary + passBytes,
    gradientPassBytes: rotary + gradientPassBytes,
    kernels: plan.dropout ? 3 : 2,
    keptBytes: kept + scoresBytes,
    scoresBytes,
    scores: { products: products.slice(0, 1), passBytes },
  }
}

/** Reads rows of the table; the backward pass adds their gradients to it. */
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

/** Final norm, logits, softmax and cross-entropy; softmax and loss in float32. */
export function headWork(slice: Slice): Component {
  const { model, tokens, tensor, bytes } = slice
  const cells = (tokens * model.vocabulary) / tensor
  const own = norm(slice, 'head')
  return {
    ...own,
    products: [{ count: 1, m: tokens, n: model.vocabulary / tensor, k: model.width }],
    // The gradient of its input.
    tensorBytes: tensor > 1 ? tokens * model.width * bytes : 0,
    // Conversion to float32 and softmax; backward their gradients.
    passBytes: own.passBytes + cells * (bytes + 3 * 4),
    gradientPassBytes: own.gradientPassBytes + cells * (3 * 4 + bytes),
    kernels: own.kernels + 3,
  }
}

/** Bytes of the logits, in the product's precision and in float32, and of their float32 gradient. */
export const logitsBytes = ({ model, tokens, tensor, bytes }: Slice): number =>
  ((tokens * model.vocabulary) / tensor) * (bytes === 4 ? 8 : bytes + 8)
