/** Kernels of programs of one token: a row [1, D], K choices, N experts of inner width F. Inference only. */
import { dim } from '../shape.ts'
import { declareKernel } from './declaration.ts'

/**
 * Number of partial products with a matrix of `rows` and `columns`: enough for a few threads, each of at least 128 rows
 * and of so many weights that it is worth a meeting of threads. It does not depend on the number of threads.
 */
const partsOf = (rows: number, columns: number): number =>
  Math.min(8, Math.max(1, Math.floor(Math.min(rows / 128, (rows * columns) / 16384))))

/** The product x·w of x [1, K] and w [K, N] in parts [P, N], each of which is the product with some rows of w. */
export const rowProduct = declareKernel({
  name: 'row-product',
  inputs: ['x', 'w'],
  outputs: ['parts'],
  results: ({ x, w }) => {
    const [rows, columns] = [dim(w.shape, 0), dim(w.shape, 1)]
    return { parts: { dtype: x.dtype, shape: [partsOf(rows, columns), columns] } }
  },
  local: true,
})

/** y = x·wᵀ [1, N] of x [1, K] and w [N, K]. */
export const rowProductTransposed = declareKernel({
  name: 'row-product-transposed',
  inputs: ['x', 'w'],
  outputs: ['y'],
  results: ({ x, w }) => ({ y: { dtype: x.dtype, shape: [1, dim(w.shape, 0)] } }),
  local: true,
})

/** The sum [1, N] of parts [P, N]. With weights [1, G], each of the G groups of parts is scaled by its weight. */
export const sumParts = declareKernel({
  name: 'sum-parts',
  inputs: ['parts', 'weights?'],
  outputs: ['sum'],
  results: ({ parts }) => ({ sum: { dtype: parts.dtype, shape: [1, dim(parts.shape, 1)] } }),
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
 * Experts int32 [1, K] and gates [1, K] of a token from its logits [1, N]: the k best of each prototype. Of experts
 * with equal scores the first is chosen. A bias [N] is added to the scores for the choice only.
 */
export const chooseExperts = declareKernel({
  name: 'choose-experts',
  inputs: ['logits', 'bias?'],
  outputs: ['experts', 'gates'],
  results: ({ logits }, { prototypes, k }: ChoiceAttributes) => ({
    experts: { dtype: 'int32', shape: [1, prototypes * k] },
    gates: { dtype: logits.dtype, shape: [1, prototypes * k] },
  }),
  local: true,
})

/**
 * The product of a row and an expert's matrix for each choice, in P parts: rows [1, D], or [K, D] with a row for each
 * choice, experts int32 [1, K] and matrices [N, D, X] → [K·P, X].
 */
export const expertRowProduct = declareKernel({
  name: 'expert-row-product',
  inputs: ['rows', 'experts', 'matrices'],
  outputs: ['parts'],
  results: ({ rows, experts, matrices: { shape } }) => {
    const [inner, columns] = [dim(shape, 1), dim(shape, 2)]
    return { parts: { dtype: rows.dtype, shape: [dim(experts.shape, 1) * partsOf(inner, columns), columns] } }
  },
  local: true,
})

/** gelu(up), or swish(gate) ∘ up, [K, F], where up and gate are the sums of the parts [K·P, F] of each choice. */
export const activateParts = declareKernel({
  name: 'activate-parts',
  inputs: ['up', 'gate?'],
  outputs: ['active'],
  results: ({ up }, { choices }: { readonly choices: number }) => ({
    active: { dtype: up.dtype, shape: [choices, dim(up.shape, 1)] },
  }),
  local: true,
})
