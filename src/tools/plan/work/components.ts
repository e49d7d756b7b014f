/**
 * The components that dense and sparse layers share, and the cost of a component: matrix products, passes over memory,
 * activations kept for the backward pass, and bytes sent to other devices.
 *
 * A component lists its forward pass. The backward pass follows from it, with two products for each product. Only
 * memory traffic is listed for both: a function of one tensor reads one tensor and writes one; its gradient reads two
 * and writes one.
 *
 * Letters: T tokens of the micro-batch, D width, F hidden width, H heads, S sequence, N experts, V vocabulary.
 * Kept activations follow Korthikanti et al. 2022 (Reducing Activation Recomputation in Large Transformer Models,
 * section 4): with 16 bits and dropout a dense layer keeps 34·T·D + 5·H·S·T bytes.
 */
import type { ModelConfig } from '../../../core/model/config.ts'
import { type Layout, sequencesOf } from '../inputs/layout.ts'
import { type PlannedRun, type PlanSettings, type RecomputedModule, storedBytes } from '../inputs/settings.ts'

/** `count` products of an m × k with a k × n matrix. */
export interface Product {
  readonly count: number
  readonly m: number
  readonly n: number
  readonly k: number
}

export type ComponentKind = 'attention' | 'router' | 'dispatch' | 'experts' | 'dense' | 'embedding' | 'head'

export interface Component {
  readonly kind: ComponentKind
  readonly products: readonly Product[]
  /** Operations of fused attention in the forward pass. */
  readonly fusedFlops: number
  /** Mean width of a head's key and value. */
  readonly headWidth: number
  /** Number of queries of fused attention, over all heads. */
  readonly fusedQueries: number
  /** Memory traffic outside products in the forward pass. */
  readonly passBytes: number
  /** Memory traffic outside products in the backward pass. */
  readonly gradientPassBytes: number
  /** Number of kernels launched besides products. */
  readonly kernels: number
  /** Number of further kernels, too short to count on the device, that the host has to start. */
  readonly starts: number
  /** Bytes kept for the backward pass. */
  readonly keptBytes: number
  /**
   * The part of `keptBytes` that selective recomputation drops, and the products and traffic to recompute it: attention
   * scores, results of norms and of activation functions, heads of latent attention.
   */
  readonly selective: Selective
  /**
   * What recomputation by operation keeps of the component: results of every other product and of attention; and what it
   * computes again. Without it, the whole component is recomputed.
   */
  readonly operations?: Operations
  /** Modules with which the whole component is recomputed. */
  readonly blocks: readonly RecomputedModule[]
  /** Bytes that are kept instead of `keptBytes`, or besides, if one of these modules is recomputed: its input. */
  readonly checkpoint: { readonly blocks: readonly RecomputedModule[]; readonly bytes: number }
  /** Bytes that tensor-parallel ranks add up: forward and backward in a layer, once in embedding and head. */
  readonly tensorBytes: number
  /** Bytes of keys and values that a device gets in the forward pass from others of its context-parallel group. */
  readonly contextBytes: number
  /**
   * Bytes of the all-to-alls to the experts and back, as the busiest rank sends or receives them, whichever is more.
   */
  readonly allToAlls: readonly number[]
}

export interface Operations {
  readonly bytes: number
  readonly products: readonly Product[]
  readonly passBytes: number
}

export interface Selective {
  /** Module whose recomputation drops the part by itself; null if there is no such part. */
  readonly module: RecomputedModule | null
  /** Whether the setting `selective` drops the part. */
  readonly usual: boolean
  readonly bytes: number
  readonly products: readonly Product[]
  readonly passBytes: number
}

export const noWork: Omit<Component, 'kind'> = {
  products: [],
  fusedFlops: 0,
  headWidth: 0,
  fusedQueries: 0,
  passBytes: 0,
  gradientPassBytes: 0,
  kernels: 0,
  starts: 0,
  keptBytes: 0,
  selective: { module: null, usual: false, bytes: 0, products: [], passBytes: 0 },
  blocks: [],
  checkpoint: { blocks: [], bytes: 0 },
  tensorBytes: 0,
  contextBytes: 0,
  allToAlls: [],
}

/** The share of a micro-batch that one device computes, the same in every layer. */
export interface Slice {
  readonly model: ModelConfig
  readonly plan: PlanSettings
  /** Number of sequences of the micro-batch. */
  readonly sequences: number
  /** Number of tokens T: the device's part of each sequence. */
  readonly tokens: number
  readonly tensor: number
  readonly context: number
  readonly expert: number
  readonly expertTensor: number
  /** Bytes of an activation. */
  readonly bytes: number
  /** Share of the norms and residuals that the device computes. */
  readonly sequenceShare: number
}

export function sliceOf(run: PlannedRun, layout: Layout): Slice {
  const { model, plan } = run
  const sequences = sequencesOf(run, layout)
  return {
    model,
    plan,
    sequences,
    tokens: (sequences * model.sequence) / layout.context,
    tensor: layout.tensor,
    context: layout.context,
    expert: layout.expert,
    expertTensor: layout.expertTensor,
    bytes: storedBytes(plan.precision),
    sequenceShare: plan.sequenceParallel ? 1 / layout.tensor : 1,
  }
}

/** Bytes of a kept number that a product reads: float8 products keep their scaled factor. */
export const factorBytes = ({ plan, bytes }: Slice): number =>
  // torchao keeps the original and scales it again.
  plan.precision === 'float8' && plan.program !== 'fsdp' ? 1 : bytes

/**
 * Whether a compiler recomputes results of norms and activation functions inside the kernels of the backward pass, which
 * read the originals anyway (PyTorch's min-cut partitioner). So they are neither kept nor cost a pass.
 */
const isFolded = ({ program, fusion }: PlanSettings): boolean => program === 'fsdp' && fusion === 'fused'

/**
 * A norm: one pass that reads and writes T × D. It keeps its input, and its result for the products after it.
 * @param readers modules that read the result; to recompute them, it is kept in the precision of activations
 */
export function norm(slice: Slice, kind: ComponentKind, readers: readonly RecomputedModule[] = []): Component {
  const { model, plan, tokens, bytes, sequenceShare } = slice
  const size = tokens * model.width * bytes * sequenceShare
  const passes = normPasses(slice, tokens * model.width * sequenceShare)
  const result = isFolded(plan) ? 0 : tokens * model.width * factorBytes(slice) * sequenceShare
  return {
    ...noWork,
    kind,
    ...passes,
    keptBytes: size + result + eagerNormBytes(slice),
    selective: { module: 'norms', usual: isModern(plan), bytes: result, products: [], passBytes: passes.passBytes },
    operations: { bytes: 0, products: [], passBytes: passes.passBytes },
    checkpoint: { blocks: readers, bytes: size - result },
  }
}

/**
 * Traffic and kernels of a norm of `count` numbers: a pass that reads and writes. An eager RMS norm of 16-bit numbers is
 * a chain of operations, most in float32 (torchtitan's and OLMo's `RMSNorm`): conversion, square, mean, product with the
 * inverse root, conversion, product with the scales; each has a gradient. A layer norm is one operation.
 */
export function normPasses({ model, plan, bytes }: Slice, count: number) {
  if (plan.fusion !== 'eager' || model.norm !== 'rms')
    return { passBytes: 2 * bytes * count, gradientPassBytes: 3 * bytes * count, kernels: 1 }
  // Forward: b + 4, 8, 4, 8, 4 + b, 2b. Backward, from the last: 3b and 3b for the scales; b + 4; 8 and 12 for the two
  // factors; 8 for the square; 12 to add the two gradients; 4 + b.
  return { passBytes: (4 * bytes + 28) * count, gradientPassBytes: (8 * bytes + 48) * count, kernels: 6 }
}

/** Passes over gate and inner projection of SwiGLU, or over the input of GELU, in the forward and the backward pass. */
function activationPasses({ plan, model: { activation } }: Slice): { forward: number; backward: number } {
  if (activation !== 'swiglu') return { forward: 2, backward: 3 }
  // SiLU and product are two operations with gradients of their own.
  return plan.fusion === 'eager' ? { forward: 5, backward: 9 } : { forward: 3, backward: 5 }
}

/**
 * Further bytes that autograd keeps of an eager RMS norm of a 16-bit tensor: the norm converts its input to float32 and
 * its result back before the scales multiply it (torchtitan's and OLMo's `RMSNorm`). A layer norm is one operation.
 */
function eagerNormBytes({ model, plan, tokens, bytes, sequenceShare }: Slice): number {
  if (plan.program !== 'fsdp' || plan.fusion !== 'eager' || model.norm !== 'rms' || bytes === 4) return 0
  return tokens * model.width * sequenceShare * 4
}

/** Bytes of a module's result that tensor-parallel ranks add up, forward and backward. */
export const summedBytes = ({ model, tokens, bytes, tensor }: Slice): number =>
  tensor > 1 ? tokens * model.width * bytes : 0

/** The residual x + f(x). Dropout's mask has a byte per element. */
export function residual({ model, plan, tokens, bytes, sequenceShare }: Slice, kind: ComponentKind): Component {
  const size = tokens * model.width * sequenceShare
  const mask = plan.dropout ? 1 : 0
  return {
    ...noWork,
    kind,
    passBytes: (3 * bytes + mask) * size,
    gradientPassBytes: (3 * bytes + mask) * size,
    kernels: 1,
    keptBytes: mask * size,
    operations: { bytes: mask * size, products: [], passBytes: (3 * bytes + mask) * size },
  }
}

/** A feed-forward network, its hidden width divided over tensor-parallel ranks. */
export function network(slice: Slice, hidden: number): Component {
  const { tokens, tensor } = slice
  const work = networkWork(slice, 1, tokens, hidden / tensor)
  return { ...noWork, kind: 'dense', ...work, operations: networkOperations(slice, work), blocks: ['network'] }
}

/**
 * The products of a network follow the four of attention, so the first and the third are kept, with the activation
 * function and the second to be computed again.
 */
function networkOperations(
  { bytes, model }: Slice,
  { products, passBytes }: Pick<Component, 'products' | 'passBytes'>,
): Operations {
  const kept = products.filter((_, i) => i % 2 === 0)
  return {
    bytes: kept.reduce((sum, { count, m, n }) => sum + count * m * n * bytes, 0),
    // The result of the last product of GELU's network is not kept, but nothing needs it either.
    products: model.activation === 'swiglu' ? products.slice(1, 2) : [],
    passBytes,
  }
}

/** Products, passes and kept bytes of `count` networks with `rows` rows each. */
export function networkWork(
  slice: Slice,
  count: number,
  rows: number,
  hidden: number,
): Pick<Component, 'products' | 'passBytes' | 'gradientPassBytes' | 'kernels' | 'keptBytes' | 'selective'> {
  // GELU keeps its input and its result, which the last product reads. SwiGLU keeps both inner projections, the
  // SiLU of one, and their product. A compiler keeps only the inputs.
  const { model, plan, bytes } = slice
  const { width, activation } = model
  const inner = activation === 'swiglu' ? 2 : 1
  const size = count * rows * hidden * bytes
  const passes = activationPasses(slice)
  return {
    products: [
      ...new Array<Product>(inner).fill({ count, m: rows, n: hidden, k: width }),
      { count, m: rows, n: width, k: hidden },
    ],
    passBytes: passes.forward * size,
    gradientPassBytes: passes.backward * size,
    kernels: plan.fusion === 'eager' ? inner : 1,
    keptBytes: (isFolded(plan) ? inner : 2 * inner) * size,
    selective: {
      module: 'activations',
      usual: isModern(plan),
      bytes: isFolded(plan) ? 0 : inner * size,
      products: [],
      passBytes: passes.forward * size,
    },
  }
}

/**
 * Whether selective recomputation includes results of norms and activation functions. Programs with fused attention do
 * it; older programs recompute scores only.
 */
const isModern = ({ attention }: PlanSettings): boolean => attention === 'fused'
