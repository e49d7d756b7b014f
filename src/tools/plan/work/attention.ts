/**
 * Work of attention: projections to queries, keys and values, norms of queries and keys, scores, and the projection of
 * the result. Grouped-query attention has fewer keys and values than queries; multi-head latent attention (DeepSeek-V2,
 * section 2.1) compresses the keys and values of all heads together, and queries too.
 */
import { headWidthOf, type ModelConfig, windowOf } from '../../../core/model/config.ts'
import type { LatentAttention } from '../inputs/settings.ts'
import {
  type Component,
  normPasses,
  noWork,
  type Product,
  type Selective,
  type Slice,
  summedBytes,
} from './components.ts'

/** Heads of all devices, and widths of a head. */
export interface AttentionShape {
  readonly heads: number
  readonly keyValueHeads: number
  /** Width of a query or key. */
  readonly queryWidth: number
  readonly valueWidth: number
}

type AttentionModel = Pick<ModelConfig, 'heads' | 'keyValueHeads' | 'headWidth' | 'width'>

export function attentionShape(model: AttentionModel, latent: LatentAttention | null): AttentionShape {
  const { heads, keyValueHeads } = model
  if (latent)
    return {
      heads,
      keyValueHeads: heads,
      queryWidth: latent.headWidth + latent.rotaryWidth,
      valueWidth: latent.valueWidth,
    }
  const head = headWidthOf(model)
  return { heads, keyValueHeads: keyValueHeads ?? heads, queryWidth: head, valueWidth: head }
}

/** Whether the tokens of a layer see less than the sequence. */
export const isWindowed = (model: ModelConfig, layer: number): boolean =>
  (windowOf(model, layer) ?? model.sequence) < model.sequence

/** Mean number of keys that a query sees: half of the sequence, since attention is causal, or the window. */
export function visibleKeys({ sequence, window }: ModelConfig, windowed: boolean): number {
  if (!windowed || window === null) return sequence / 2
  return window - window ** 2 / (2 * sequence)
}

/** Number of keys in a block, which fused attention computes together. */
const BLOCK = 128

/**
 * Mean number of keys that are computed for a query. A window begins and ends within blocks, which are computed whole.
 */
const computedKeys = (model: ModelConfig, windowed: boolean): number =>
  windowed ? Math.min(visibleKeys(model, windowed) + BLOCK, model.sequence / 2) : visibleKeys(model, windowed)

/** Numbers of a device's queries, keys, values and results. */
function sizesOf({ model, plan, tokens, tensor }: Slice) {
  const { heads, keyValueHeads, queryWidth, valueWidth } = attentionShape(model, plan.latent)
  // With more tensor-parallel ranks than key/value heads, several ranks have the same head.
  const shared = Math.ceil(keyValueHeads / tensor)
  return {
    queries: (tokens * heads * queryWidth) / tensor,
    keys: tokens * shared * queryWidth,
    values: tokens * shared * valueWidth,
    results: (tokens * heads * valueWidth) / tensor,
  }
}

/**
 * Projections from the layer's input to queries, keys and values, with the norms of queries and keys. The layer's norm
 * before them keeps their input.
 */
export function queryKeyValue(slice: Slice): Component[] {
  const { model, plan, tokens, tensor, bytes } = slice
  if (plan.latent) return [{ ...latentProjections(slice, plan.latent), blocks: ['attention'] }]
  const { queries, keys, values } = sizesOf(slice)
  const columns = (queries + keys + values) / tokens
  const projection: Component = {
    ...noWork,
    kind: 'attention',
    products: [{ count: 1, m: tokens, n: columns, k: model.width }],
    // Queries, keys and values are three products, of which the second is computed again.
    operations: {
      bytes: (queries + values) * bytes,
      products: [{ count: 1, m: tokens, n: keys / tokens, k: model.width }],
      passBytes: 0,
    },
    blocks: ['attention'],
  }
  if (model.queryKeyNorm === 'none') return [projection]
  const size = (queries + keys) * bytes
  const passes = normPasses(slice, queries + keys)
  // A norm over all heads of several ranks needs the sum of their squares, a number for each token.
  const squares = model.queryKeyNorm === 'width' && tensor > 1 ? 2 * tokens * 4 : 0
  return [
    projection,
    {
      ...noWork,
      kind: 'attention',
      ...passes,
      kernels: 2 * passes.kernels,
      keptBytes: size,
      tensorBytes: squares,
      operations: { bytes: 0, products: [], passBytes: passes.passBytes },
      blocks: ['attention'],
    },
  ]
}

/**
 * Projections down to the latents, which every tensor-parallel rank computes whole, norms of the latents, and
 * projections up to the heads of a rank.
 */
function latentProjections(slice: Slice, latent: LatentAttention): Component {
  const { model, tokens, tensor, bytes } = slice
  const { queryRank, keyValueRank, headWidth, rotaryWidth } = latent
  const own = model.heads / tensor
  const down = (n: number): Product => ({ count: 1, m: tokens, n, k: model.width })
  const latents = tokens * ((queryRank ?? 0) + keyValueRank) * bytes
  return {
    ...noWork,
    kind: 'attention',
    products: [
      ...(queryRank === null ? [] : [down(queryRank)]),
      down(keyValueRank + rotaryWidth),
      ...toHeads(slice, latent),
    ],
    // These are passes of the norms, and of copying the shared rotated key to every head.
    passBytes: 2 * latents + 2 * tokens * own * (headWidth + rotaryWidth) * bytes,
    gradientPassBytes: 3 * latents + 2 * tokens * own * (headWidth + rotaryWidth) * bytes,
    kernels: 6,
    keptBytes: 2 * latents,
  }
}

/** Products from latents to the queries, keys and values of a rank's heads. */
function toHeads({ model, tokens, tensor }: Slice, latent: LatentAttention): Product[] {
  const { queryRank, keyValueRank, headWidth, rotaryWidth, valueWidth } = latent
  const own = model.heads / tensor
  return [
    { count: 1, m: tokens, n: own * (headWidth + rotaryWidth), k: queryRank ?? model.width },
    { count: 1, m: tokens, n: own * (headWidth + valueWidth), k: keyValueRank },
  ]
}

/** Selective recomputation of queries, keys and values from their latents. */
function recomputedHeads(slice: Slice, latent: LatentAttention): Selective {
  const { queries, keys, values } = sizesOf(slice)
  const bytes = (queries + keys + values) * slice.bytes
  return {
    module: 'latent',
    usual: true,
    bytes,
    products: toHeads(slice, latent),
    passBytes: 2 * (queries + keys) * slice.bytes,
  }
}

/** The projection of the results of all heads; its input is kept with the scores. */
export function outputProjection(slice: Slice): Component {
  const { model, plan, tokens, tensor } = slice
  const { heads, valueWidth } = attentionShape(model, plan.latent)
  const products = [{ count: 1, m: tokens, n: model.width, k: (heads * valueWidth) / tensor }]
  return {
    ...noWork,
    kind: 'attention',
    products,
    operations: { bytes: 0, products, passBytes: 0 },
    tensorBytes: summedBytes(slice),
    blocks: ['attention'],
  }
}

/**
 * Traffic for each rotated number. An eager rotation converts to float32, multiplies complex numbers, and converts back
 * (Llama's `apply_rotary_emb`).
 */
const rotaryBytes = ({ plan, bytes }: Slice): number => (plan.fusion === 'eager' ? 2 * bytes + 16 : 2 * bytes)

/** Further keys and values of eager programs of `fsdp`, which repeat those of grouped heads for each head. */
function repeatedHeads(slice: Slice): number {
  const { plan } = slice
  if (plan.program !== 'fsdp' || plan.fusion !== 'eager' || plan.latent) return 0
  const { queries, keys, values } = sizesOf(slice)
  return 2 * queries - keys - values
}

/**
 * Rotary positions, scores, softmax, and the weighted values. The component keeps queries, keys, values and the result,
 * and with rotary positions also the rotated queries and keys, since the originals share memory with the values. Latent
 * attention makes new keys and values from a projection, which is freed (Megatron-Core, `multi_latent_attention.py`).
 *
 * With context parallelism a device has the queries of its part of the sequence, balanced so that all see equally many
 * keys, and gets the keys and values of the other parts.
 */
export function scores(slice: Slice, layer: number): Component {
  const { model, plan, sequences, tensor, bytes, context } = slice
  const { sequence, positions } = model
  const { heads, queryWidth, valueWidth } = attentionShape(model, plan.latent)
  const { queries, keys, values, results } = sizesOf(slice)
  const isRotary = positions === 'rotary'
  const rotary = (isRotary ? rotaryBytes(slice) * (queries + keys) : 0) + 2 * repeatedHeads(slice) * bytes
  const count = (sequences * heads) / tensor
  const rows = sequence / context
  // Autograd keeps what is rotated, not the originals.
  const originals = isRotary && !plan.latent && plan.program === 'megatron' ? queries + keys : 0
  const kept = (queries + keys + values + results + originals + repeatedHeads(slice)) * bytes
  const visible = computedKeys(model, isWindowed(model, layer))
  const others = context - 1
  const contextBytes = others * (keys + values) * bytes
  if (plan.attention === 'fused')
    // A float32 for each row of scores is kept too.
    return {
      ...noWork,
      kind: 'attention',
      fusedFlops: count * rows * visible * 2 * (queryWidth + valueWidth),
      headWidth: (queryWidth + valueWidth) / 2,
      fusedQueries: count * rows,
      passBytes: rotary,
      gradientPassBytes: rotary,
      kernels: 1,
      keptBytes: kept + count * rows * 4,
      operations: { bytes: results * bytes + count * rows * 4, products: [], passBytes: rotary },
      selective: plan.latent ? recomputedHeads(slice, plan.latent) : noWork.selective,
      contextBytes,
      blocks: ['attention'],
    }
  const cells = count * rows * sequence
  // Softmax with scaling and mask is one pass, dropout another. Probabilities, and dropout's result and mask, are kept.
  const passBytes = cells * (plan.dropout ? 4 * bytes + 1 : 2 * bytes)
  const gradientPassBytes = cells * (plan.dropout ? 5 * bytes + 1 : 3 * bytes)
  const products = [
    { count, m: rows, n: sequence, k: queryWidth },
    { count, m: rows, n: valueWidth, k: sequence },
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
    selective: { module: 'scores', usual: true, bytes: scoresBytes, products: products.slice(0, 1), passBytes },
    contextBytes,
    blocks: ['attention'],
  }
}
