/**
 * What one device computes, moves and keeps for one micro-batch, block by block. As in the graph, the rules of a
 * block stand side by side: its matrix products, its passes over memory, what it keeps for the backward pass, and
 * what it says to other devices.
 *
 * A block is described by its forward pass; the backward pass follows from it, two products for each product, except
 * for the traffic of passes. A function of one tensor reads and writes it; its gradient reads two and writes one.
 *
 * Letters: T tokens of the micro-batch, D width, F hidden width, H heads, S sequence, N experts, V vocabulary.
 * Counting what is kept follows Korthikanti et al. 2022 (Reducing Activation Recomputation in Large Transformer
 * Models, section 4), whose 34·T·D + 5·H·S·T bytes of a dense layer come out with 16 bits and dropout.
 */
import type { ModelConfig } from '../model/config.ts'
import { activatedExperts, hasRouterWeights, isSparse, type RoutedModule, routedModules } from '../model/parameters.ts'
import { type Layout, sequencesOf } from './layout.ts'
import { capacityOf, type ModelLoads, type RankLoad, rankLoad } from './load.ts'
import { type PlannedRun, type PlanSettings, storedBytes } from './settings.ts'

/** `count` products of an m × k with a k × n matrix. */
export interface Product {
  readonly count: number
  readonly m: number
  readonly n: number
  readonly k: number
}

export type BlockKind = 'attention' | 'router' | 'dispatch' | 'experts' | 'dense' | 'embedding' | 'head'

export interface Block {
  readonly kind: BlockKind
  readonly products: readonly Product[]
  /** Operations of attention that never stores its scores. */
  readonly fusedFlops: number
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

const nothing: Omit<Block, 'kind'> = {
  products: [],
  fusedFlops: 0,
  passBytes: 0,
  gradientPassBytes: 0,
  kernels: 0,
  keptBytes: 0,
  scoresBytes: 0,
  scores: { products: [], passBytes: 0 },
  tensorBytes: 0,
  exchanges: [],
}

export interface LayerWork {
  readonly blocks: readonly Block[]
  /** Input of the layer: what full recomputation keeps. */
  readonly inputBytes: number
  readonly loads: readonly RankLoad[]
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

export function layerWork(slice: Slice, layer: number, loads: ModelLoads): LayerWork {
  const { model, tokens, bytes, sequenceShare } = slice
  const routed = routedModules(model, layer)
  const mixtures = routed.map((module) => ({ module, ...mixture(slice, module, loads(layer, module)) }))
  const blocksOf = (module: RoutedModule) => mixtures.find((each) => each.module === module)?.blocks
  return {
    inputBytes: tokens * model.width * bytes * sequenceShare,
    loads: mixtures.map(({ load }) => load),
    blocks: [
      norm(slice, 'attention'),
      ...(blocksOf('qkv') ?? [projection(slice, 3 * model.width)]),
      scores(slice),
      ...(blocksOf('output') ?? [projection(slice, model.width)]),
      residual(slice, 'attention'),
      ...(blocksOf('ffn') ?? [norm(slice, 'dense'), network(slice, model.hidden), residual(slice, 'dense')]),
    ],
  }
}

/** A pass that reads and writes T × D, and keeps both: the input of the norm, and that of the products behind it. */
function norm({ model, tokens, bytes, sequenceShare }: Slice, kind: BlockKind): Block {
  const size = tokens * model.width * bytes * sequenceShare
  return { ...nothing, kind, passBytes: 2 * size, gradientPassBytes: 3 * size, kernels: 1, keptBytes: 2 * size }
}

/** x + f(x), with dropout's mask of a byte an element; the sum over tensor-parallel ranks comes before it. */
function residual({ model, plan, tokens, bytes, tensor, sequenceShare }: Slice, kind: BlockKind): Block {
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

/** To queries, keys and values (3·D columns, by columns), or back (D rows, by rows). What it reads is kept elsewhere. */
function projection({ model: { width }, tokens, tensor }: Slice, columns: number): Block {
  const product =
    columns > width
      ? { count: 1, m: tokens, n: columns / tensor, k: width }
      : { count: 1, m: tokens, n: width, k: width / tensor }
  return { ...nothing, kind: 'attention', products: [product] }
}

/**
 * Rotary positions, scores, softmax, values. Keeps queries, keys, values and its result, and with rotary positions
 * the turned queries and keys beside the memory of all three that they come from.
 */
function scores({ model, plan, sequences, tokens, tensor, bytes }: Slice): Block {
  const { width, heads, sequence, positions } = model
  const own = (tokens * width * bytes) / tensor
  const rotary = positions === 'rotary' ? 4 * own : 0
  const count = (sequences * heads) / tensor
  const head = width / heads
  const kept = (positions === 'rotary' ? 6 : 4) * own
  if (plan.attention === 'fused')
    // Half of the scores: a token sees those before it. Kept besides: a float32 a row.
    return {
      ...nothing,
      kind: 'attention',
      fusedFlops: count * sequence * sequence * head * 2,
      passBytes: rotary,
      gradientPassBytes: rotary,
      kernels: 1,
      keptBytes: kept + count * sequence * 4,
    }
  const cells = count * sequence * sequence
  // Softmax with scaling and mask is one pass, dropout another. Kept: probabilities, dropout's result and its mask.
  const passBytes = cells * (plan.dropout ? 4 * bytes + 1 : 2 * bytes)
  const gradientPassBytes = cells * (plan.dropout ? 5 * bytes + 1 : 3 * bytes)
  const products = [
    { count, m: sequence, n: sequence, k: head },
    { count, m: sequence, n: head, k: sequence },
  ]
  const scoresBytes = cells * (plan.dropout ? 2 * bytes + 1 : bytes)
  return {
    ...nothing,
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

/** A feed-forward network of which each tensor-parallel rank has a part of the hidden width. */
function network({ model, tokens, tensor, bytes }: Slice, hidden: number): Block {
  return { ...nothing, kind: 'dense', ...networkWork(model, 1, tokens, hidden / tensor, bytes) }
}

/** The products, passes and kept bytes of `count` networks with `rows` rows each. */
function networkWork({ width, activation }: ModelConfig, count: number, rows: number, hidden: number, bytes: number) {
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

/** Router, dispatch, experts and combine of one routed module. */
function mixture(slice: Slice, module: RoutedModule, expertLoads: readonly number[]) {
  const { model, plan, tokens, bytes, tensor, expert } = slice
  const moe = model.moe
  if (!moe) throw new Error('internal: no experts in a dense model')
  const { width } = model
  const { experts } = moe
  const load = rankLoad(moe, expertLoads, expert, tokens, plan.dispatch === 'one-hot' || undefined)
  const ownNorm = module === 'ffn' ? [norm(slice, 'router')] : []
  const ownResidual = module === 'ffn' ? [residual(slice, 'router')] : []
  const local = experts / expert
  const rows = load.rows / local
  const columns = module === 'qkv' ? 3 * width : width
  /** Of what a rank of a tensor group hands back: sums of networks, parts of projections. */
  const back = module === 'ffn' ? width : columns / tensor
  const work =
    module === 'ffn'
      ? networkWork(model, local, rows, moe.hidden / tensor, bytes)
      : {
          products: [{ count: local, m: rows, n: columns / tensor, k: width }],
          passBytes: 0,
          gradientPassBytes: 0,
          kernels: 0,
          keptBytes: 0,
        }
  const shared = module === 'ffn' && moe.sharedHidden > 0 ? [network(slice, moe.sharedHidden)] : []
  const blocks: Block[] = [
    ...ownNorm,
    router(slice),
    dispatch(slice, load.rows, back),
    {
      ...nothing,
      kind: 'experts',
      ...work,
      // What experts read, and what they make: the gradient of the gate needs it.
      keptBytes: work.keptBytes + load.rows * (width + back) * bytes,
      exchanges: expert > 1 ? [load.exchanged * width * bytes, load.exchanged * back * bytes] : [],
    },
    ...shared,
    ...ownResidual,
  ]
  return { blocks, load }
}

/** Kernels of one choice: maximum, one-hot, place in the queue, capacity, gate, mask. */
const KERNELS_A_CHOICE = 6

/**
 * Logits, softmax, choice and capacity, in float32 as is usual (Switch Transformers, section 2.4). k sequential
 * choices are k times the passes over all logits; one choice in each of Z prototypes is one pass.
 */
function router({ model: { moe, width }, tokens }: Slice): Block {
  if (!moe) throw new Error('internal: no experts in a dense model')
  const cells = tokens * moe.experts * 4
  const rounds = moe.selection === 'sequential' ? moe.k : 1
  const learned = hasRouterWeights(moe)
  const normalising = moe.router === 'sinkhorn' ? 2 * moe.sinkhornIterations : 0
  // Softmax reads and writes; losses read twice; a choice reads, writes its mask, and adds the mask up by token.
  const passes = (learned ? 4 : 0) + 2 * normalising + 4 * rounds
  return {
    ...nothing,
    kind: 'router',
    products: learned ? [{ count: 1, m: tokens, n: moe.experts, k: width }] : [],
    passBytes: passes * cells,
    // The gradient takes the softmax back once; it does not choose again.
    gradientPassBytes: learned ? 4 * cells : 0,
    kernels: (learned ? 3 : 0) + normalising + KERNELS_A_CHOICE * rounds,
    keptBytes: learned ? 2 * cells : 0,
  }
}

/** To the experts and back: rows copied by their indices, or products with one-hot matrices [T, N·C]. */
function dispatch({ model: { moe, width }, plan, tokens, bytes }: Slice, rows: number, columns: number): Block {
  if (!moe) throw new Error('internal: no experts in a dense model')
  const choices = activatedExperts(moe)
  if (plan.dispatch === 'gather') {
    const there = 2 * rows * width
    const back = (rows + choices * tokens) * columns
    const passBytes = (there + back) * bytes
    return { ...nothing, kind: 'dispatch', passBytes, gradientPassBytes: passBytes, kernels: 4 }
  }
  // A matrix for each group, of its tokens and its slots.
  const count = moe.groups
  const group = tokens / count
  const slots = (moe.experts * capacityOf(moe, tokens)) / count
  return {
    ...nothing,
    kind: 'dispatch',
    products: [
      { count, m: slots, n: width, k: group },
      { count, m: group, n: columns, k: slots },
    ],
    // Both matrices are written from their factors, and kept: one of places, one of gates.
    passBytes: 2 * 2 * tokens * slots * bytes,
    gradientPassBytes: tokens * slots * bytes,
    kernels: 4,
    keptBytes: 2 * tokens * slots * bytes,
  }
}

/** Rows of the table; their gradients are added to it. */
export function embeddingWork({ model, tokens, bytes, tensor, sequenceShare }: Slice): Block {
  return {
    ...nothing,
    kind: 'embedding',
    // Each tensor-parallel rank has a part of the vocabulary.
    tensorBytes: tensor > 1 ? tokens * model.width * bytes : 0,
    passBytes: 2 * tokens * model.width * bytes * sequenceShare,
    gradientPassBytes: 3 * tokens * model.width * bytes * sequenceShare,
    kernels: 1,
  }
}

/** Final norm, logits, softmax and cross-entropy; softmax and loss in float32. */
export function headWork(slice: Slice): Block {
  const { model, tokens, tensor, bytes } = slice
  const cells = (tokens * model.vocabulary) / tensor
  const own = norm(slice, 'head')
  return {
    ...own,
    products: [{ count: 1, m: tokens, n: model.vocabulary / tensor, k: model.width }],
    // The gradient of what it reads.
    tensorBytes: tensor > 1 ? tokens * model.width * bytes : 0,
    // To float32, and softmax; back, and from float32.
    passBytes: own.passBytes + cells * (bytes + 3 * 4),
    gradientPassBytes: own.gradientPassBytes + cells * (3 * 4 + bytes),
    kernels: own.kernels + 3,
  }
}

/** Logits as the product makes them, in float32, and their gradient in float32. */
export const logitsBytes = ({ model, tokens, tensor, bytes }: Slice): number =>
  ((tokens * model.vocabulary) / tensor) * (bytes === 4 ? 8 : bytes + 8)

/** Whether any layer of the model is sparse. */
export const hasExperts = (model: ModelConfig): boolean =>
  Array.from({ length: model.layers }, (_, layer) => layer).some((layer) => isSparse(model, layer))
