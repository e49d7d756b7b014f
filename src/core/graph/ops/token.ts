/**
 * Ops of programs of one token, as kernels (src/engine/cpu/staged/kernels/token.ts). Inference only: none has a
 * gradient. With them one program computes a token from its row of the embedding to the logits, and chooses
 * the experts on the way.
 */
import { dim } from '../shape.ts'
import { constant, defineIndexOp, emitKernel, type KernelOptions, type Tensor } from '../tensor.ts'

const row = (x: Tensor, columns: number) => ({ dtype: x.dtype, shape: [1, columns] })

const emitOne = (
  type: string,
  inputs: readonly Tensor[],
  result: { readonly dtype: Tensor['dtype']; readonly shape: readonly number[] },
  options: KernelOptions = {},
): Tensor => emitKernel(type, inputs, [result], { ...options, local: true })[0] as Tensor

/**
 * Number of partial products with a matrix of `rows` and `columns`: enough for a few threads, each of at least 128 rows
 * and of so many weights that it is worth a meeting of threads. Independent of the thread count.
 */
const partsOf = (rows: number, columns: number): number =>
  Math.min(8, Math.max(1, Math.floor(Math.min(rows / 128, (rows * columns) / 16384))))

/** The sum of parts [P, N] as [1, N]. With weights [1, G], each of the G groups of parts is scaled by its weight. */
const sumParts = (parts: Tensor, weights?: Tensor): Tensor =>
  emitOne('sum-parts', [parts, ...(weights ? [weights] : [])], row(parts, dim(parts.shape, 1)), {
    attributes: { weighted: weights ? 1 : 0 },
    addsTo: [0],
  })

/** x·w of a row x [1, K] and w [K, N], or [N, K] when transposed: [1, N]. */
export const rowProduct: (x: Tensor, w: Tensor, options?: { readonly transposed?: boolean }) => Tensor = defineIndexOp(
  'row-product',
  'kernel',
  (x: Tensor, w: Tensor, { transposed = false }: { readonly transposed?: boolean } = {}) => {
    if (transposed) return emitOne('row-product-transposed', [x, w], row(x, dim(w.shape, 0)))
    const [inner, columns] = [dim(w.shape, 0), dim(w.shape, 1)]
    return sumParts(emitOne('row-product', [x, w], { dtype: x.dtype, shape: [partsOf(inner, columns), columns] }))
  },
)

/** factor·x of a row x [1, N]. */
export const scaledRow: (x: Tensor, factor: number) => Tensor = defineIndexOp(
  'scaled-row',
  'kernel',
  (x: Tensor, factor: number) => sumParts(x, constant([factor], x.dtype, [1, 1])),
)

/** Row `index` int32 [1] of a table [R, D]: [1, D]. */
export const tableRow: (table: Tensor, index: Tensor) => Tensor = defineIndexOp(
  'table-row',
  'kernel',
  (table: Tensor, index: Tensor) => emitOne('gather-rows', [table, index], row(table, dim(table.shape, 1))),
)

export interface Cached {
  /** Rotated keys of all positions so far [S, KV·d]. */
  readonly keys: Tensor
  /** Values of all positions so far [S, KV·d]. */
  readonly values: Tensor
}

export interface CachedShape {
  /** Heads of queries, H, a multiple of those of keys and values. */
  readonly heads: number
  /** Width of a head, d. */
  readonly size: number
  /** Factor of the scores. */
  readonly scale: number
  /** Positions that the token sees, itself included; null = all. */
  readonly window: number | null
}

/**
 * Attention of a token at `position` int32 [1] over itself and the earlier positions in the cache, from its
 * qkv [1, (H + 2·KV)·d]: [1, H·d]. The keys and values returned are the given ones with the token's row replaced; if
 * they are bound to the same memory, only that row is written. cos, sin [1, d/2] of the position's angles.
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
    { heads, size, scale, window }: CachedShape,
  ) =>
    emitKernel(
      'attend-cached',
      [qkv, position, keys, values, ...(angles ?? [])],
      [row(qkv, heads * size), keys, values],
      { attributes: { heads, window: window ?? dim(keys.shape, 0), scale: { float: scale } }, local: true },
    ),
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

/** A {@link ChoiceRule} as attributes of the kernel; flags are 0 or 1. */
export type ChoiceAttributes = {
  readonly prototypes: number
  readonly k: number
  /** Whether the softmax runs over the chosen experts, not over all of the prototype. */
  readonly after: number
  /** Whether scores are sigmoids. */
  readonly sigmoid: number
  readonly renormalize: number
  readonly groups: number
  readonly groupsPerToken: number
  /** Whether a group counts by the sum of its two best scores, not by its best. */
  readonly pair: number
  readonly scale: { readonly float: number }
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
    const shape = [1, prototypes * k]
    const results = [
      { dtype: 'int32', shape },
      { dtype: logits.dtype, shape },
    ] as const
    const attributes: ChoiceAttributes = {
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
    const inputs = [logits, ...(bias ? [bias] : [])]
    return emitKernel('choose-experts', inputs, results, { attributes, local: true }) as [Tensor, Tensor]
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
    const choices = dim(experts.shape, 1)
    const product = (rows: Tensor, matrices: Tensor) => {
      const [inner, columns] = [dim(matrices.shape, 1), dim(matrices.shape, 2)]
      const shape = [choices * partsOf(inner, columns), columns]
      return emitOne('expert-row-product', [rows, experts, matrices], { dtype: x.dtype, shape })
    }
    const active = { dtype: x.dtype, shape: [choices, dim(up.shape, 2)] }
    const inner = emitOne('activate-parts', [product(x, up), ...(gate ? [product(x, gate)] : [])], active)
    return sumParts(product(inner, down), gates)
  },
)
