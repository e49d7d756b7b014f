/**
 * Kernels of programs of R tokens, each of another text: rows [R, D], K choices each, N experts of inner width F.
 * Inference only. The result of a row has the same bits whatever the other rows are, and whether there are any.
 */
import { dim, sizeOf } from '../shape.ts'
import { declareKernel } from './declaration.ts'

/**
 * Number of partial products with a matrix of `rows` and `columns`: enough for a few threads, each of at least 128 rows
 * and of so many weights that it is worth a meeting of threads. It does not depend on the number of threads.
 */
const partsOf = (rows: number, columns: number): number =>
  Math.min(8, Math.max(1, Math.floor(Math.min(rows / 128, (rows * columns) / 16384))))

/**
 * The product x·w of x [R, K] and w [K, N] in parts [R·P, N]: P for each row of x, each of which is the product with some
 * rows of w.
 */
export const rowProduct = declareKernel({
  name: 'row-product',
  inputs: ['x', 'w'],
  outputs: ['parts'],
  results: ({ x, w }) => {
    const [rows, columns] = [dim(w.shape, 0), dim(w.shape, 1)]
    return { parts: { dtype: x.dtype, shape: [dim(x.shape, 0) * partsOf(rows, columns), columns] } }
  },
  local: true,
})

/** y = x·wᵀ [R, N] of x [R, K] and w [N, K]. */
export const rowProductTransposed = declareKernel({
  name: 'row-product-transposed',
  inputs: ['x', 'w'],
  outputs: ['y'],
  results: ({ x, w }) => ({ y: { dtype: x.dtype, shape: [dim(x.shape, 0), dim(w.shape, 0)] } }),
  local: true,
})

/**
 * The sums [R, N] of parts [R·P, N], P for each row. With weights [R, G], each of the G groups of parts of a row is scaled
 * by its weight.
 */
export const sumParts = declareKernel({
  name: 'sum-parts',
  inputs: ['parts', 'weights?'],
  outputs: ['sum'],
  results: ({ parts }, { rows }: { readonly rows: number }) => ({
    sum: { dtype: parts.dtype, shape: [rows, dim(parts.shape, 1)] },
  }),
  addsTo: ['sum'],
  local: true,
})

export type ChoiceAttributes = {
  readonly prototypes: number
  /** Experts of each prototype. */
  readonly k: number
  /** Whether the softmax runs over the chosen experts, not over all of the prototype. */
  readonly after: 0 | 1
  /** Whether scores are sigmoids. */
  readonly sigmoid: 0 | 1
  readonly renormalize: 0 | 1
  readonly groups: number
  readonly groupsPerToken: number
  /** Whether a group counts by the sum of its two best scores, not by its best. */
  readonly pair: 0 | 1
  readonly scale: { readonly float: number }
}

/**
 * Experts int32 [R, K] and gates [R, K] of tokens from their logits [R, N]: the k best of each prototype. Of experts
 * with equal scores the first is chosen. A bias [N] is added to the scores for the choice only.
 */
export const chooseExperts = declareKernel({
  name: 'choose-experts',
  inputs: ['logits', 'bias?'],
  outputs: ['experts', 'gates'],
  results: ({ logits }, { prototypes, k }: ChoiceAttributes) => ({
    experts: { dtype: 'int32', shape: [dim(logits.shape, 0), prototypes * k] },
    gates: { dtype: logits.dtype, shape: [dim(logits.shape, 0), prototypes * k] },
  }),
  local: true,
})

/**
 * The product of a row and an expert's matrix for each choice, in P parts: rows [R, D], or [R·K, D] with a row for each
 * choice, experts int32 [R, K] and matrices [N, D, X] → [R·K·P, X].
 */
export const expertRowProduct = declareKernel({
  name: 'expert-row-product',
  inputs: ['rows', 'experts', 'matrices'],
  outputs: ['parts'],
  results: ({ rows, experts, matrices: { shape } }) => {
    const [inner, columns] = [dim(shape, 1), dim(shape, 2)]
    return { parts: { dtype: rows.dtype, shape: [sizeOf(experts.shape) * partsOf(inner, columns), columns] } }
  },
  local: true,
})

/**
 * gelu(up), or swish(gate) ∘ up, [R·K, F], where up and gate are the sums of the parts [R·K·P, F] of each of the R·K
 * choices.
 */
export const activateParts = declareKernel({
  name: 'activate-parts',
  inputs: ['up', 'gate?'],
  outputs: ['active'],
  results: ({ up }, { choices }: { readonly choices: number }) => ({
    active: { dtype: up.dtype, shape: [choices, dim(up.shape, 1)] },
  }),
  local: true,
})
