/** Work of one device for one micro-batch: the components of a layer, of embedding and head. */

import type { RoutedModule } from '../../../core/model/config/moe-config.ts'
import { routedModules } from '../../../core/model/parameters.ts'
import { outputProjection, queryKeyValue, scores } from './attention.ts'
import { type Component, network, norm, noWork, residual, type Slice, summedBytes } from './components.ts'
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
      norm(slice, 'attention', ['attention']),
      ...(componentsOf('qkv') ?? queryKeyValue(slice)),
      scores(slice, layer),
      ...(componentsOf('output') ?? [outputProjection(slice)]),
      residual(slice, 'attention'),
      ...(componentsOf('ffn') ?? [
        norm(slice, 'dense', ['network']),
        { ...network(slice, model.hidden), tensorBytes: summedBytes(slice) },
        residual(slice, 'dense'),
      ]),
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

/**
 * Work of the head: final norm, logits, softmax and cross-entropy. Softmax and loss are in float32.
 *
 * With chunks, products of a chunk's logits and of both gradients follow each other (Liger's fused linear
 * cross-entropy, Hsu et al. 2024, section 3.2). The gradient of the head's input is kept for the backward pass of the
 * layers, and each further chunk reads and writes the sum of the weight's gradient.
 */
export function headWork(slice: Slice): Component {
  const { model, plan, tokens, tensor, bytes } = slice
  const { fused, chunks } = plan.crossEntropy
  const columns = model.vocabulary / tensor
  const cells = tokens * columns
  const own = norm(slice, 'head')
  const sums = 2 * (chunks - 1) * columns * model.width * (plan.gradients === 'float32' ? 4 : bytes)
  const passes = fused
    ? // One kernel reads the logits for their maximum and sum, and again to overwrite them with their gradient.
      { forward: 3 * bytes, backward: 0, kernels: 2 }
    : // Conversion to float32 and softmax, and backward their gradients.
      { forward: bytes + 3 * 4, backward: 3 * 4 + bytes, kernels: 3 }
  return {
    ...own,
    products: [{ count: chunks, m: tokens / chunks, n: columns, k: model.width }],
    // Tensor-parallel ranks add up the gradient of the head's input.
    tensorBytes: tensor > 1 ? tokens * model.width * bytes : 0,
    passBytes: own.passBytes + cells * passes.forward,
    gradientPassBytes: own.gradientPassBytes + cells * passes.backward + sums,
    kernels: own.kernels + passes.kernels * chunks,
    starts: chunks - 1,
    keptBytes: own.keptBytes + (chunks > 1 ? tokens * model.width * bytes : 0),
  }
}

/**
 * Bytes of the logits of a chunk: in the precision of the product and in float32, with their float32 gradient, or, with
 * a fused cross-entropy, in the precision of the product only. PyTorch's function keeps log-probabilities in float32,
 * and backward makes their gradient and the gradient of the logits, each in float32. With tensor parallelism, its
 * distributed function has one more tensor (`_nll_loss_and_log_softmax_backward` of DTensor).
 */
export function logitsBytes(slice: Slice): number {
  const { model, plan, tokens, tensor, bytes } = slice
  const { fused, chunks } = plan.crossEntropy
  const separate = plan.program === 'fsdp' ? (tensor > 1 ? 16 : 12) : bytes === 4 ? 8 : bytes + 8
  const cell = fused === 'compiled' ? 2 * bytes : fused ? bytes : separate
  // The head of DTensor's tensor parallelism gathers its input from the parts of the sequence, and has its gradient.
  const gathered = plan.program === 'fsdp' && tensor > 1 && plan.sequenceParallel ? 2 * tokens * model.width * bytes : 0
  return ((tokens * model.vocabulary) / tensor / chunks) * cell + gathered
}
