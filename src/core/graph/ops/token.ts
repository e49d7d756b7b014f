/**
 * Ops of programs of one token, as kernels (src/engine/cpu/staged/kernels/token.ts). They are for inference only: none
 * has a gradient. With them one program computes a token from its row of the embedding to the logits, and chooses the
 * experts on the way.
 */
import { attendCached as attendCachedKernel } from '../kernels/attention.ts'
import { emitKernel } from '../kernels/declaration.ts'
import { gatherRows } from '../kernels/rows.ts'
import * as kernels from '../kernels/token.ts'
import { dim } from '../shape.ts'
import { constant, defineIndexOp, type Tensor } from '../tensor.ts'

/** y = x·w [1, N] of a row x [1, K] and w [K, N], or x·wᵀ with w [N, K] when transposed. */
export const rowProduct: (x: Tensor, w: Tensor, options?: { readonly transposed?: boolean }) => Tensor = defineIndexOp(
  'row-product',
  'kernel',
  (x: Tensor, w: Tensor, { transposed = false }: { readonly transposed?: boolean } = {}) => {
    if (transposed) return emitKernel(kernels.rowProductTransposed, { x, w }).y
    return emitKernel(kernels.sumParts, emitKernel(kernels.rowProduct, { x, w })).sum
  },
)

/** factor·x of a row x [1, N]. */
export const scaledRow: (x: Tensor, factor: number) => Tensor = defineIndexOp(
  'scaled-row',
  'kernel',
  (x: Tensor, factor: number) =>
    emitKernel(kernels.sumParts, { parts: x, weights: constant([factor], x.dtype, [1, 1]) }).sum,
)

/** Row `index` int32 [1] of a table [R, D]: [1, D]. */
export const tableRow: (table: Tensor, index: Tensor) => Tensor = defineIndexOp(
  'table-row',
  'kernel',
  (table: Tensor, index: Tensor) => emitKernel(gatherRows, { x: table, index }).y,
)

export interface Cached {
  /** Rotated keys of all positions so far [S, KV·d]. */
  readonly keys: Tensor
  /** Values of all positions so far [S, KV·d]. */
  readonly values: Tensor
}

export interface CachedShape {
  /** Heads of queries, H, a multiple of the heads of keys and values. */
  readonly heads: number
  /** Factor of the scores. */
  readonly scale: number
  /** Number of positions that the token sees, its own included; null = all. */
  readonly window: number | null
}

/**
 * Attention of a token at `position` int32 [1] over itself and the earlier positions in the cache, from its
 * qkv [1, (H + 2·KV)·d]: [1, H·d]. The keys and values returned are the given ones with the token's row replaced; if
 * they are bound to the same memory, only that row is written. Angles are cos and sin [1, d/2] of the position.
 */
export const attendCached: (
  qkv: Tensor,
  position: Tensor,
  cached: Cached,
  angles: readonly [cos: Tensor, sin: Tensor] | null,
  shape: CachedShape,
) => readonly Tensor[] = defineIndexOp(
  'attend-cached',
  'kernel',
  (
    qkv: Tensor,
    position: Tensor,
    { keys, values }: Cached,
    angles: readonly [cos: Tensor, sin: Tensor] | null,
    { heads, scale, window }: CachedShape,
  ) => {
    const [cos, sin] = angles ?? []
    const attributes = { heads, window: window ?? dim(keys.shape, 0), scale: { float: scale } }
    const operands = { qkv, position, keys, values, cos, sin }
    const { y, newKeys, newValues } = emitKernel(attendCachedKernel, operands, attributes)
    return [y, newKeys, newValues]
  },
)

/** The settings of `model.moe` by which a token chooses. */
export interface ChoiceRule {
  readonly prototypes: number
  /** Experts of each prototype. */
  readonly k: number
  readonly scores: 'softmax' | 'sigmoid'
  /** The softmax runs over all experts of a prototype before the choice, or over the chosen ones after it. */
  readonly softmax: 'before' | 'after'
  readonly expertGroups: number
  readonly groupsPerToken: number
  readonly groupScore: 'max' | 'top-2'
  readonly renormalize: boolean
  readonly routedScale: number
}

/**
 * Experts int32 [1, K] and gates [1, K] of a token, from its logits [1, N]. A bias [N] is added to the scores
 * for the choice only.
 */
export const chooseExperts: (
  logits: Tensor,
  rule: ChoiceRule,
  bias?: Tensor,
) => readonly [experts: Tensor, gates: Tensor] = defineIndexOp(
  'choose-experts',
  'kernel',
  (logits: Tensor, rule: ChoiceRule, bias?: Tensor) => {
    const { prototypes, k, expertGroups, groupsPerToken } = rule
    const attributes: kernels.ChoiceAttributes = {
      prototypes,
      k,
      after: rule.softmax === 'after' ? 1 : 0,
      sigmoid: rule.scores === 'sigmoid' ? 1 : 0,
      renormalize: rule.renormalize ? 1 : 0,
      groups: expertGroups,
      groupsPerToken,
      pair: rule.groupScore === 'top-2' ? 1 : 0,
      scale: { float: rule.routedScale },
    }
    const { experts, gates } = emitKernel(kernels.chooseExperts, { logits, bias }, attributes)
    return [experts, gates]
  },
)

/** Weights of N experts. */
export interface RowExperts {
  /** [N, D, F] */
  readonly up: Tensor
  /** [N, D, F], for SwiGLU. */
  readonly gate?: Tensor
  /** [N, F, D] */
  readonly down: Tensor
}

/** Σ_k gate · expert(x) for a row x [1, D] with experts int32 [1, K] and gates [1, K]: [1, D]. */
export const rowExperts: (x: Tensor, experts: Tensor, gates: Tensor, weights: RowExperts) => Tensor = defineIndexOp(
  'row-experts',
  'kernel',
  (x: Tensor, experts: Tensor, gates: Tensor, { up, gate, down }: RowExperts) => {
    const product = (rows: Tensor, matrices: Tensor): Tensor =>
      emitKernel(kernels.expertRowProduct, { rows, experts, matrices }).parts
    const inner = { up: product(x, up), gate: gate && product(x, gate) }
    const { active } = emitKernel(kernels.activateParts, inner, { choices: dim(experts.shape, 1) })
    return emitKernel(kernels.sumParts, { parts: product(active, down), weights: gates }).sum
  },
)
