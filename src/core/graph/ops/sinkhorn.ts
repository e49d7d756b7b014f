/** Sinkhorn's iteration, for routing: assigns tokens to experts so that every expert gets the same share. */
import { dim } from '../shape.ts'
import { constant, defineIndexOp, emit, type Tensor } from '../tensor.ts'
import { add, divide, exp, multiply, subtract } from './elementwise.ts'
import { max } from './reduction.ts'
import { reshape } from './shape.ts'

/** Number added to sums, so that sums of vanishing weights and their inverses stay inside the range of float32. */
const TINY = 1e-30

/**
 * exp(logits) [G, T, N], with rows and columns scaled in turn so that every row of a group sums to 1/T and
 * then every column to 1/N, as in Megatron-LM; a fixed number of times, columns last. The largest logit of
 * each row is subtracted before exp; the scale of the row cancels it. The result serves to choose experts
 * and has no gradient.
 */
export const sinkhorn: (logits: Tensor, iterations: number) => Tensor = defineIndexOp(
  'sinkhorn',
  'order',
  (logits: Tensor, iterations: number) => {
    const [groups, tokens, experts] = [dim(logits.shape, 0), dim(logits.shape, 1), dim(logits.shape, 2)]
    const weight_GTN = exp(subtract(logits, max(logits, { axes: [2], keepDims: true })))
    // Sums of scaled weights are products with the scales: one pass over the weights, in full precision.
    const product = (a: Tensor, b: Tensor, shape: readonly number[]) => emit('MatMul', [a, b], { shape })
    const scales = (sums: Tensor, count: number) => divide(1 / count, add(sums, TINY))
    let column_GN1 = constant(new Float64Array(experts).fill(1), logits.dtype, [1, experts, 1])
    let row_GT1 = column_GN1
    for (let iteration = 0; iteration < iterations; iteration++) {
      row_GT1 = scales(product(weight_GTN, column_GN1, [groups, tokens, 1]), tokens)
      const row_G1T = reshape(row_GT1, [groups, 1, tokens])
      const column_G1N = scales(product(row_G1T, weight_GTN, [groups, 1, experts]), experts)
      column_GN1 = reshape(column_G1N, [groups, experts, 1])
    }
    return multiply(multiply(weight_GTN, reshape(column_GN1, [groups, 1, experts])), row_GT1)
  },
)
