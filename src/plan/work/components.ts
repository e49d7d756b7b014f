/**
 * A block of a layer, and the blocks that dense and sparse layers share. As in the graph, the rules of a block stand
 * side by side: its matrix products, its passes over memory, what it keeps for the backward pass, and what it says
 * to other devices.
 *
 * A block is described by its forward pass; the backward pass follows from it, two products for each product, except
 * for the traffic of passes. A function of one tensor reads and writes it; its gradient reads two and writes one.
 *
 * Letters: T tokens of the micro-batch, D width, F hidden width, H heads, S sequence, N experts, V vocabulary.
 * Counting what is kept follows Korthikanti et al. 2022 (Reducing Activation Recomputation in Large Transformer
 * Models, section 4), whose 34·T·D + 5·H·S·T bytes of a dense layer come out with 16 bits and dropout.
 */
import type { ModelConfig } from '../../model/config.ts'
import { type PlannedRun, type PlanSettings, storedBytes } from '../inputs/settings.ts'
import { type Layout, sequencesOf } from '../search/layout.ts'

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
  /** Operations of attention that never stores its scores. */
  readonly fusedFlops: number
  /** Queries of it, of all heads. */
  readonly fusedQueries: number
  /** Traffic of all that is no product. */
  readonly passBytes: number
  /** Traffic of the same in the backward pass. */
  readonly gradientPassBytes: number
  /** Kernels that are no products. */
  readonly kernels: number
  /** Kept for the backward pass. */
  readonly keptBytes: number
  /** The part of it that selective recomputation does without, and the products and traffic to have it again. */
  readonly scoresBytes: number
  readonly scores: { readonly products: readonly Product[]; readonly passBytes: number }
  /** Summed over tensor-parallel ranks: of a layer forward and backward, of embedding and head once. */
  readonly tensorBytes: number
  /** Sent or received, whichever is more, by the busiest rank: to the experts, and back. */
  readonly exchanges: readonly number[]
}

export const nothing: Omit<Component, 'kind'> = {
  products: [],
  fusedFlops: 0,
  fusedQueries: 0,
  passBytes: 0,
  gradientPassBytes: 0,
  kernels: 0,
  keptBytes: 0,
  scoresBytes: 0,
  scores: { products: [], passBytes: 0 },
  tensorBytes: 0,
  exchanges: [],
}

/** What a device has to do for one micro-batch, as far as it does not depend on the layer. */
export interface Slice {
  readonly model: ModelConfig
  readonly plan: PlanSettings
  /** Sequences, and T. */
  readonly sequences: number
  readonly tokens: number
  readonly tensor: number
  readonly expert: number
  /** Bytes of an activation. */
  readonly bytes: number
  /** Share of norms and residuals that a device has. */
  readonly sequenceShare: number
}

export function sliceOf(run: PlannedRun, layout: Layout): Slice {
  const { model, plan } = run
  const sequences = sequencesOf(run, layout)
  return {
    model,
    plan,
    sequences,
    tokens: sequences * model.sequence,
    tensor: layout.tensor,
    expert: layout.expert,
    bytes: storedBytes(plan.precision),
    sequenceShare: plan.sequenceParallel ? 1 / layout.tensor : 1,
  }
}

/** A pass that reads and writes T × D, and keeps both: the input of the norm, and that of the products behind it. */
export function norm({ model, tokens, bytes, sequenceShare }: Slice, kind: ComponentKind): Component {
  const size = tokens * model.width * bytes * sequenceShare
  return { ...nothing, kind, passBytes: 2 * size, gradientPassBytes: 3 * size, kernels: 1, keptBytes: 2 * size }
}

/** x + f(x), with dropout's mask of a byte an element; the sum over tensor-parallel ranks comes before it. */
export function residual({ model, plan, tokens, bytes, tensor, sequenceShare }: Slice, kind: ComponentKind): Component {
  const size = tokens * model.width * sequenceShare
  const mask = plan.dropout ? 1 : 0
  return {
    ...nothing,
    kind,
    passBytes: (3 * bytes + mask) * size,
    gradientPassBytes: (3 * bytes + mask) * size,
    kernels: 1,
    keptBytes: mask * size,
    tensorBytes: tensor > 1 ? tokens * model.width * bytes : 0,
  }
}

/** A feed-forward network of which each tensor-parallel rank has a part of the hidden width. */
export function network({ model, tokens, tensor, bytes }: Slice, hidden: number): Component {
  return { ...nothing, kind: 'dense', ...networkWork(model, 1, tokens, hidden / tensor, bytes) }
}

/** The products, passes and kept bytes of `count` networks with `rows` rows each. */
export function networkWork(
  { width, activation }: ModelConfig,
  count: number,
  rows: number,
  hidden: number,
  bytes: number,
) {
  // GELU keeps its input and its result, which the last product reads; SwiGLU both inner projections, the SiLU of
  // one, and the product.
  const inner = activation === 'swiglu' ? 2 : 1
  const size = count * rows * hidden * bytes
  return {
    products: [
      ...new Array<Product>(inner).fill({ count, m: rows, n: hidden, k: width }),
      { count, m: rows, n: width, k: hidden },
    ],
    passBytes: (inner + 1) * size,
    gradientPassBytes: (2 * inner + 1) * size,
    kernels: 1,
    keptBytes: 2 * inner * size,
  }
}
