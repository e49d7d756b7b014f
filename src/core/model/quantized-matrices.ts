/** Which parameters are stored as quantized weights, and the input of a program that holds such a parameter. */
import { type QuantizedMatrix, quantizedWords } from '../graph/ops/quantized.ts'
import type { Bits } from '../graph/quantized-layout.ts'
import { input } from '../graph/tensor.ts'
import type { ModelConfig } from './config.ts'
import { type ParameterSpec, parameterSpecs, sharedMix } from './parameters.ts'

export interface QuantizedParameter {
  readonly spec: ParameterSpec
  /** Number of matrices in the tensor: one for each expert, or 1. */
  readonly count: number
  /** Rows and columns of w in x·w. */
  readonly inner: number
  readonly columns: number
  /** Whether the parameter is [columns, inner]. */
  readonly transposed: boolean
  readonly bits: Bits
}

/** Fewest bits of the embedding table: a token reads one row of it, so fewer bits would save no time. */
const TABLE_BITS = 8

/**
 * The embedding table, and the matrices that a token is multiplied with: projections of attention, feed-forward networks
 * with all experts, and the head, which is the embedding table if the two are tied. Routers, gates of shared experts,
 * norms, biases and learned positions stay float32.
 * @param bits Bits of a weight of the matrices.
 */
export function quantizedParameters(config: ModelConfig, bits: Bits): QuantizedParameter[] {
  return parameterSpecs(config).flatMap((spec) => {
    const { name, shape, init } = spec
    const role = typeof init === 'string' ? null : init.role
    const isTable = role === 'embedding'
    const isWide = isTable || role === 'head'
    const isMix = name.endsWith(sharedMix(''))
    if (!isWide && (isMix || (role !== 'matrix' && role !== 'branch'))) return []
    const [rows, columns] = shape.slice(-2) as [number, number]
    return {
      spec,
      count: spec.stacked ? (shape[0] as number) : 1,
      ...(isWide ? { inner: columns, columns: rows } : { inner: rows, columns }),
      transposed: isWide,
      bits: isTable && bits < TABLE_BITS ? TABLE_BITS : bits,
    }
  })
}

/** Name of the input with the quantized weights of a parameter. */
export const quantizedName = (parameter: string): string => `${parameter}.quantized`

/** The input with the quantized weights of a parameter. */
export function quantizedInput({ spec, count, inner, columns, bits }: QuantizedParameter): QuantizedMatrix {
  const data = input(quantizedName(spec.name), 'int32', [count, quantizedWords(bits, inner, columns)])
  return { data, inner, columns, bits }
}
