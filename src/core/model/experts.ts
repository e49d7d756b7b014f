/**
 * The experts of a routed module: feed-forward networks that replace a dense one, or single matrices that
 * replace a projection of attention. Both support every layout of rows.
 */
import { forSources } from '../graph/ops/exchange.ts'
import { expertFfnKernel, expertLinearKernel, joinRows, splitRows, type WeightSums } from '../graph/ops/expert.ts'
import { matmul } from '../graph/ops/matmul.ts'
import { concat, slice } from '../graph/ops/shape.ts'
import { recomputed } from '../graph/recompute.ts'
import { dim } from '../graph/shape.ts'
import { hasKernel, type Tensor } from '../graph/tensor.ts'
import type { ModelConfig } from './config.ts'
import { type FfnWeights, ffn, ffnParameters, weightsOf } from './ffn.ts'
import type { Parameters } from './parameters.ts'

/**
 * The n experts on this rank, which map rows of width D to rows of width X. Rows come from `sources` ranks, one unless
 * ranks share the experts, and are grouped by source and then by expert.
 */
export interface Experts {
  /** Packed rows [R, D] and the number of rows of each group; absent if the runtime has no such kernel. */
  readonly kernel?: (rows_RD: Tensor, sizes: Tensor, sums?: WeightSums) => Tensor
  /** Rows of each expert [?, D] → [?, X]. */
  ragged(pieces: readonly Tensor[]): readonly Tensor[]
  /**
   * Packed rows of each group [R, D] and their numbers, without a kernel: [R, X]. For gradients the experts are
   * computed again, because pieces whose number of rows is known at run time only cannot be kept between the steps of a
   * program.
   */
  shared(rows_RD: Tensor, sizes: Tensor, sources: number): Tensor
  /** The same number of rows in every group: [sources · n, R, D] → [sources · n, R, X]. */
  padded(in_NRD: Tensor, sources: number): Tensor
}

/** Feed-forward networks; `name` is the module's. */
export function ffnExperts(config: ModelConfig, parameters: Parameters, name: string, dtype: Tensor['dtype']): Experts {
  const find = <T>(get: (name: string) => T) => weightsOf(config, (matrix) => get(`${name}.experts.{e}.${matrix}`))
  const stacked = () => find((matrix) => parameters.get(matrix))
  return {
    ...(hasKernel('expert-ffn', dtype) && {
      kernel: (rows, sizes, sums) => expertFfnKernel(rows, stacked(), sizes, sums),
    }),
    ragged: (pieces) => {
      const weights = find((matrix) => parameters.experts(matrix))
      return pieces.map((rows, e) => ffn(rows, at(weights, e)))
    },
    shared: (rows, sizes, sources) => {
      const names = ffnParameters(config).map(({ name }) => name)
      const matrices = names.map((matrix) => parameters.experts(`${name}.experts.{e}.${matrix}`))
      return sharedRows(rows, sizes, sources, matrices, (piece, weights) => {
        const of = (matrix: string) => weights[names.indexOf(matrix as (typeof names)[number])] as Tensor
        return ffn(piece, weightsOf(config, of))
      })
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
      kernel: (rows, sizes, sums) => expertLinearKernel(rows, parameters.get(matrix), sizes, sums),
    }),
    ragged: (pieces) => {
      const weights = parameters.experts(matrix)
      return pieces.map((rows, e) => matmul(rows, weights[e] as Tensor))
    },
    shared: (rows, sizes, sources) =>
      sharedRows(rows, sizes, sources, [parameters.experts(matrix)], (piece, [weights]) =>
        matmul(piece, weights as Tensor),
      ),
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

/**
 * The rows of every group by the matrices of its expert.
 * @param matrices [matrices of an expert][experts here]
 */
function sharedRows(
  rows_RD: Tensor,
  sizes: Tensor,
  sources: number,
  matrices: readonly (readonly Tensor[])[],
  compute: (piece: Tensor, weights: readonly Tensor[]) => Tensor,
): Tensor {
  const experts = matrices[0]?.length ?? 0
  return recomputed([rows_RD, ...matrices.flat()], ([rows, ...weights]) => {
    const of = bySource(weights, sources, false)
    const outputs = splitRows(rows as Tensor, sizes).map((piece, g) => {
      const ofSource = of[Math.floor(g / experts)] as Tensor[]
      return compute(
        piece,
        matrices.map((_, m) => ofSource[m * experts + (g % experts)] as Tensor),
      )
    })
    return joinRows(outputs, sizes, dim(rows_RD.shape, 0))
  })
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
