/**
 * The experts of a routed module: feed-forward networks that replace a dense one, or single matrices that
 * replace a projection of attention. Both support every layout of rows.
 */
import { hasKernel } from '../graph/kernels/declaration.ts'
import * as kernels from '../graph/kernels/experts.ts'
import { quantizedExpertFfn } from '../graph/kernels/quantized.ts'
import { expertFfnKernel, expertLinearKernel, type WeightSums } from '../graph/ops/expert.ts'
import { matmul } from '../graph/ops/matmul.ts'
import { type QuantizedMatrix, quantizedExpertFfn as quantizedExpertRows } from '../graph/ops/quantized.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { ModelConfig } from './config.ts'
import { type FfnWeights, ffn, weightsOf } from './ffn.ts'
import type { Parameters } from './parameters.ts'

/**
 * The n experts on this rank, which map rows of width D to rows of width X. Only a kernel gets rows of other ranks,
 * grouped by their rank and then by expert.
 */
export interface Experts {
  /** Maps packed rows [R, D], given the number of rows of each group; absent if the runtime has no such kernel. */
  readonly kernel?: (rows_RD: Tensor, sizes: Tensor, sums?: WeightSums) => Tensor
  /** Maps the rows of each expert: [?, D] → [?, X]. */
  ragged(pieces: readonly Tensor[]): readonly Tensor[]
  /** Maps the same number of rows for every expert: [N, R, D] → [N, R, X]. */
  padded(in_NRD: Tensor): Tensor
}

/** Experts that are feed-forward networks; `name` is the name of their module. */
export function ffnExperts(config: ModelConfig, parameters: Parameters, name: string, dtype: Tensor['dtype']): Experts {
  const find = <T>(get: (name: string) => T) => weightsOf(config, (matrix) => get(`${name}.experts.{e}.${matrix}`))
  const stacked = () => find((matrix) => parameters.get(matrix))
  const quantized = find((matrix) => parameters.quantized?.(matrix))
  if (quantized.up && quantized.down && hasKernel(quantizedExpertFfn, dtype))
    return quantizedExperts({ ...quantized, up: quantized.up, down: quantized.down })
  return {
    ...(hasKernel(kernels.expertFfn, dtype) && {
      kernel: (rows, sizes, sums) => expertFfnKernel(rows, stacked(), sizes, sums),
    }),
    ragged: (pieces) => {
      const weights = find((matrix) => parameters.experts(matrix))
      return pieces.map((rows, e) => ffn(rows, at(weights, e)))
    },
    padded: (in_NRD) => ffn(in_NRD, stacked()),
  }
}

/** Experts whose matrices are quantized, which only a kernel computes. */
function quantizedExperts({
  up,
  gate,
  down,
}: {
  up: QuantizedMatrix
  gate?: QuantizedMatrix | undefined
  down: QuantizedMatrix
}): Experts {
  const apart = () => {
    throw new Error('internal: experts of quantized weights are computed by a kernel')
  }
  const weights = { up, ...(gate && { gate }), down }
  return { kernel: (rows, sizes) => quantizedExpertRows(rows, sizes, weights), ragged: apart, padded: apart }
}

/** Experts of one matrix each: y = x·W_e. */
export function linearExperts(parameters: Parameters, name: string, dtype: Tensor['dtype']): Experts {
  const matrix = `${name}.experts.{e}.weight`
  return {
    ...(hasKernel(kernels.expertLinear, dtype) && {
      kernel: (rows, sizes, sums) => expertLinearKernel(rows, parameters.get(matrix), sizes, sums),
    }),
    ragged: (pieces) => {
      const weights = parameters.experts(matrix)
      return pieces.map((rows, e) => matmul(rows, weights[e] as Tensor))
    },
    padded: (in_NRD) => matmul(in_NRD, parameters.get(matrix)),
  }
}

const at = (
  { up, gate, down }: { up: readonly Tensor[]; gate?: readonly Tensor[]; down: readonly Tensor[] },
  index: number,
): FfnWeights => ({
  up: up[index] as Tensor,
  ...(gate && { gate: gate[index] as Tensor }),
  down: down[index] as Tensor,
})
