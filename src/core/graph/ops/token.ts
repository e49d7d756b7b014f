/**
 * Ops of programs of R tokens, each of another text, as kernels (src/engine/cpu/staged/kernels/token.ts). They are for
 * inference only: none has a gradient. With them one program computes tokens from their rows of the embedding to the
 * logits, and chooses the experts on the way. What is computed for a token does not depend on the other tokens.
 */
import { attendCached as attendCachedKernel } from '../kernels/attention.ts'
import { emitKernel } from '../kernels/declaration.ts'
import { gatherRows } from '../kernels/rows.ts'
import * as kernels from '../kernels/token.ts'
import { dim, sizeOf } from '../shape.ts'
import { constant, defineIndexOp, type Tensor } from '../tensor.ts'

/** y = x·w [R, N] of rows x [R, K] and w [K, N], or x·wᵀ with w [N, K] when transposed. */
export const rowProduct: (x: Tensor, w: Tensor, options?: { readonly transposed?: boolean }) => Tensor = defineIndexOp(
  'row-product',
  'kernel',
  (x: Tensor, w: Tensor, { transposed = false }: { readonly transposed?: boolean } = {}) => {
    if (transposed) return emitKernel(kernels.rowProductTransposed, { x, w }).y
    return emitKernel(kernels.sumParts, emitKernel(kernels.rowProduct, { x, w }), { rows: dim(x.shape, 0) }).sum
  },
)

/** factor·x of rows x [R, N]. */
export const scaledRow: (x: Tensor, factor: number) => Tensor = defineIndexOp(
  'scaled-row',
  'kernel',
  (x: Tensor, factor: number) => {
    const rows = dim(x.shape, 0)
    const weights = constant(Array<number>(rows).fill(factor), x.dtype, [rows, 1])
    return emitKernel(kernels.sumParts, { parts: x, weights }, { rows }).sum
  },
)

/** Rows `index` int32 [R] of a table [N, D]: [R, D]. */
export const tableRows: (table: Tensor, index: Tensor) => Tensor = defineIndexOp(
  'table-rows',
  'kernel',
  (table: Tensor, index: Tensor) => emitKernel(gatherRows, { x: table, index }).y,
)

export interface Cached {
  /** Rotated keys of the positions so far, in pages of P rows [N·P, KV·d]. */
  readonly keys: Tensor
  /** Values of the positions so far [N·P, KV·d]. */
  readonly values: Tensor
}

export interface CachedShape {
  /** Heads of queries, H, a multiple of the heads of keys and values. */
  readonly heads: number
  /** Positions of a text, S. */
  readonly sequence: number
  /** Positions of a page, P. */
  readonly page: number
  /** Factor of the scores. */
  readonly scale: number
  /** Number of positions that the token sees, its own included; null = all. */
  readonly window: number | null
}

/** Where R tokens are, each in a text of its own. */
export interface CachedPlaces {
  /** The position in the text, int32 [R]. */
  readonly position: Tensor
  /**
   * The pages of the text, int32 [R, ⌈S/P⌉]: position p is row p % P of page ⌊p/P⌋ of them. Texts may share pages, but
   * none with the position of one of the tokens.
   */
  readonly pages: Tensor
}

/**
 * Attention of tokens over themselves and the earlier positions of their texts in the cache, from their
 * qkv [R, (H + 2·KV)·d]: [R, H·d]. The keys and values returned are the given ones with the rows of the tokens replaced;
 * if they are bound to the same memory, only those rows are written. Angles are cos and sin [R, d/2] of the positions.
 */
export const attendCached: (
  qkv: Tensor,
  places: CachedPlaces,
  cached: Cached,
  angles: readonly [cos: Tensor, sin: Tensor] | null,
  shape: CachedShape,
) => readonly Tensor[] = defineIndexOp(
  'attend-cached',
  'kernel',
  (
    qkv: Tensor,
    { position, pages }: CachedPlaces,
    { keys, values }: Cached,
    angles: readonly [cos: Tensor, sin: Tensor] | null,
    { heads, sequence, page, scale, window }: CachedShape,
  ) => {
    const [cos, sin] = angles ?? []
    const attributes = { heads, sequence, page, window: window ?? sequence, scale: { float: scale } }
    const operands = { qkv, position, pages, keys, values, cos, sin }
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
 * Experts int32 [R, K] and gates [R, K] of tokens, from their logits [R, N]. A bias [N] is added to the scores for the
 * choice only.
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

/** Σ_k gate · expert(x) for rows x [R, D] with experts int32 [R, K] and gates [R, K]: [R, D]. */
export const rowExperts: (x: Tensor, experts: Tensor, gates: Tensor, weights: RowExperts) => Tensor = defineIndexOp(
  'row-experts',
  'kernel',
  (x: Tensor, experts: Tensor, gates: Tensor, { up, gate, down }: RowExperts) => {
    const product = (rows: Tensor, matrices: Tensor): Tensor =>
      emitKernel(kernels.expertRowProduct, { rows, experts, matrices }).parts
    const inner = { up: product(x, up), gate: gate && product(x, gate) }
    const { active } = emitKernel(kernels.activateParts, inner, { choices: sizeOf(experts.shape) })
    return emitKernel(kernels.sumParts, { parts: product(active, down), weights: gates }, { rows: dim(x.shape, 0) }).sum
  },
)
