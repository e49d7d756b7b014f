/**
 * The experts of a routed module: feed-forward networks that replace a dense one, or single matrices that
 * replace a projection of attention. Both support every layout of rows.
 */
import { forSources } from '../graph/ops/exchange.ts'
import { expertFfnKernel, expertLinearKernel } from '../graph/ops/expert.ts'
import { matmul } from '../graph/ops/matmul.ts'
import { concat, slice } from '../graph/ops/shape.ts'
import { hasKernel, type Tensor } from '../graph/tensor.ts'
import type { ModelConfig } from './config.ts'
import { type FfnWeights, ffn, weightsOf } from './ffn.ts'
import type { Parameters } from './parameters.ts'

/**
 * The n experts on this rank, which map rows of width D to rows of width X. Rows come from `sources` ranks, one unless
 * ranks share the experts, and are grouped by source and then by expert.
 */
export interface Experts {
  /** Packed rows [R, D] and the number of rows of each group; absent if the runtime has no such kernel. */
  readonly kernel?: (rows_RD: Tensor, sizes: Tensor) => Tensor
  /** Rows of each group [?, D] → [?, X]. */
  ragged(pieces: readonly Tensor[], sources: number): readonly Tensor[]
  /** The same number of rows in every group: [sources · n, R, D] → [sources · n, R, X]. */
  padded(in_NRD: Tensor, sources: number): Tensor
}

/** Feed-forward networks; `name` is the module's. */
export function ffnExperts(config: ModelConfig, parameters: Parameters, name: string, dtype: Tensor['dtype']): Experts {
  const find = <T>(get: (name: string) => T) => weightsOf(config, (matrix) => get(`${name}.experts.{e}.${matrix}`))
  const stacked = () => find((matrix) => parameters.get(matrix))
  return {
    ...(hasKernel('expert-ffn', dtype) && { kernel: (rows, sizes) => expertFfnKernel(rows, stacked(), sizes) }),
    ragged: (pieces, sources) => {
      const of = find((matrix) => bySource(parameters.experts(matrix), sources, false).flat())
      return pieces.map((rows, g) => ffn(rows, at(of, g)))
    },
    padded: (in_NRD, sources) => {
      const of = find((matrix) => bySource([parameters.get(matrix)], sources, true).flat())
      return eachSource(in_NRD, sources, (rows, s) => ffn(rows, at(of, s)))
    },
  }
}

/** One matrix per expert: y = x·W_e. */
export function linearExperts(parameters: Parameters, name: string, dtype: Tensor['dtype']): Experts {
  const matrix = `${name}.experts.{e}.weight`
  return {
    ...(hasKernel('expert-linear', dtype) && {
      kernel: (rows, sizes) => expertLinearKernel(rows, parameters.get(matrix), sizes),
    }),
    ragged: (pieces, sources) => {
      const weights = bySource(parameters.experts(matrix), sources, false).flat()
      return pieces.map((rows, g) => matmul(rows, weights[g] as Tensor))
    },
    padded: (in_NRD, sources) => {
      const weights = bySource([parameters.get(matrix)], sources, true).flat()
      return eachSource(in_NRD, sources, (rows, s) => matmul(rows, weights[s] as Tensor))
    },
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

/** The weights for the rows of each source: [sources][weights]. */
function bySource(weights: readonly Tensor[], sources: number, stacked: boolean): Tensor[][] {
  if (sources === 1) return [[...weights]]
  const copies = weights.map((matrix) => forSources(matrix, sources, stacked))
  return Array.from({ length: sources }, (_, s) => copies.map((of) => of[s] as Tensor))
}

/** Computes the rows of every source [n, R, D] by themselves, so that products have the bits of one process. */
function eachSource(in_NRD: Tensor, sources: number, compute: (rows: Tensor, source: number) => Tensor): Tensor {
  if (sources === 1) return compute(in_NRD, 0)
  const each = (in_NRD.shape[0] as number) / sources
  return concat(
    Array.from({ length: sources }, (_, s) => compute(slice(in_NRD, 0, s * each, (s + 1) * each), s)),
    0,
  )
}
