/**
 * Products of tokens with the model's matrices, and their rows of its tables, for each format of weights. Matrices are named by their parameters.
 */
import { quantizedExperts, quantizedProduct, quantizedRows } from '../graph/ops/quantized.ts'
import { reshape } from '../graph/ops/shape.ts'
import { rowExperts, rowProduct, tableRows } from '../graph/ops/token.ts'
import type { Bits } from '../graph/quantized-layout.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { ModelConfig } from './config.ts'
import type { FfnWeights } from './ffn.ts'
import { quantizedInput, quantizedParameters } from './quantized-matrices.ts'

export interface TokenProducts {
  /** The rows [R, D] of a table at `index` int32 [R]. */
  rows(table: Tensor, index: Tensor): Tensor
  /** The product x·w of rows x [R, K] and w [K, N]. */
  row(x: Tensor, w: Tensor): Tensor
  /** The product x·wᵀ of the normed stream x [R, D] and the head w [V, D]. */
  head(x: Tensor, w: Tensor): Tensor
  /** The sum Σ_k gate · expert(x). Weights without the dimension of experts belong to one expert. */
  experts(x: Tensor, experts: Tensor, gates: Tensor, weights: FfnWeights): Tensor
}

export const float32Products: TokenProducts = {
  rows: tableRows,
  row: (x, w) => rowProduct(x, w),
  head: (x, w) => rowProduct(x, w, { transposed: true }),
  experts: (x, experts, gates, weights) =>
    rowExperts(
      x,
      experts,
      gates,
      mapped(weights, (w) => (w.shape.length === 3 ? w : reshape(w, [1, ...w.shape]))),
    ),
}

export function quantizedProducts(config: ModelConfig, bits: Bits): TokenProducts {
  const byName = new Map(
    quantizedParameters(config, bits).map((parameter) => [parameter.spec.name, quantizedInput(parameter)]),
  )
  const find = ({ source }: Tensor) => (source.kind === 'input' ? byName.get(source.name) : undefined)
  const quantized = (tensor: Tensor) => {
    const matrix = find(tensor)
    if (!matrix) throw new Error('internal: a matrix without quantized weights')
    return matrix
  }
  return {
    rows(table, index) {
      const matrix = find(table)
      return matrix ? quantizedRows(matrix, index) : tableRows(table, index)
    },
    row: (x, w) => quantizedProduct(x, quantized(w)),
    head: (x, w) => quantizedProduct(x, quantized(w)),
    experts: (x, experts, gates, weights) => quantizedExperts(x, experts, gates, mapped(weights, quantized)),
  }
}

const mapped = <T>({ up, gate, down }: FfnWeights, of: (w: Tensor) => T): { up: T; gate?: T; down: T } => ({
  up: of(up),
  ...(gate && { gate: of(gate) }),
  down: of(down),
})
