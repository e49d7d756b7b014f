/**
 * Kernels of experts over rows that are packed expert by expert: R rows of width D, N experts of inner width F. `sizes`
 * int64 [N + 1] is the number of rows of each expert, then of unused rows. If the rows come from E ranks, it is
 * [E·N + 1], by source rank and expert. Results of unused rows are not written.
 */
import { dim } from '../shape.ts'
import type { Tensor } from '../tensor.ts'
import { declareKernel, type Result } from './declaration.ts'

/**
 * How gradients of weights [N, ...] are summed over the ranks that rows come from, which are the leaves of the tree of
 * additions (`../tree.ts`).
 */
export type SourceSums = {
  /** Number of ranks whose gradients the kernel adds to one sum. */
  readonly leaves: number
  /** Number of sums that the kernel leaves: the gradient is [N, parts, ...] if there are several. */
  readonly parts: number
  /** Number of ranks that rows come from. */
  readonly sources: number
}

/** The gradient of weights, or its parts. */
function gradientOf({ dtype, shape: [experts = 0, ...matrix] }: Tensor, { parts }: SourceSums): Result {
  return { dtype, shape: parts === 1 ? [experts, ...matrix] : [experts, parts, ...matrix] }
}

/** y = x·W of every expert over its rows [R, D]: weights [N, D, X] → [R, X]. */
export const expertLinear = declareKernel({
  name: 'expert-linear',
  inputs: ['rows', 'sizes', 'weights'],
  outputs: ['y'],
  results: ({ rows, weights }) => ({
    y: { dtype: rows.dtype, shape: [dim(rows.shape, 0), dim(weights.shape, 2)] },
  }),
  localInputs: ['sizes'],
})

/** The gradients of {@link expertLinear}. The weights of an expert without rows have gradients of zero. */
export const expertLinearGradient = declareKernel({
  name: 'expert-linear-gradient',
  inputs: ['dy', 'rows', 'sizes', 'weights'],
  outputs: ['dRows', 'dWeights'],
  results: ({ rows, weights }, sums: SourceSums) => ({ dRows: rows, dWeights: gradientOf(weights, sums) }),
  addsTo: ({ parts, sources }) => (parts === sources ? ['dWeights'] : []),
  localInputs: ['sizes'],
})

/**
 * The feed-forward networks of experts: gelu(x·up)·down, or (swish(x·gate) ∘ x·up)·down, with up and gate [N, D, F] and
 * down [N, F, D]. The products before the activation, `inner` and `innerGate` [R, F], are kept for the gradient.
 */
export const expertFfn = declareKernel({
  name: 'expert-ffn',
  inputs: ['rows', 'sizes', 'up', 'gate?', 'down'],
  outputs: ['y', 'inner', 'innerGate?'],
  results: ({ rows, up, gate }) => {
    const inner = { dtype: rows.dtype, shape: [dim(rows.shape, 0), dim(up.shape, 2)] }
    return { y: rows, inner, innerGate: gate && inner }
  },
  localInputs: ['sizes'],
})

/** The gradients of {@link expertFfn}. The weights of an expert without rows have gradients of zero. */
export const expertFfnGradient = declareKernel({
  name: 'expert-ffn-gradient',
  inputs: ['dy', 'rows', 'sizes', 'up', 'gate?', 'down', 'inner', 'innerGate?'],
  outputs: ['dRows', 'dUp', 'dGate?', 'dDown'],
  results: ({ rows, up, gate, down }, sums: SourceSums) => ({
    dRows: rows,
    dUp: gradientOf(up, sums),
    dGate: gate && gradientOf(gate, sums),
    dDown: gradientOf(down, sums),
  }),
  addsTo: ({ parts, sources }) => (parts === sources ? ['dUp', 'dGate', 'dDown'] : []),
  localInputs: ['sizes'],
})

/** The sum over E sources of gradients, in the order of the tree (`../tree.ts`): [n, E, ...] → [n, ...]. */
export const sumSources = declareKernel({
  name: 'sum-sources',
  inputs: ['parts'],
  outputs: ['sum'],
  results: ({ parts: { dtype, shape } }) => ({ sum: { dtype, shape: shape.toSpliced(1, 1) } }),
  local: true,
})
