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
}

/**
 * The matrices that a token is multiplied with: projections of attention, feed-forward networks with all experts, and
 * the head, which is the embedding table if the two are tied. Routers, gates of shared experts, norms, biases and
 * tables whose rows are looked up stay float32.
 */
export function quantizedParameters(config: ModelConfig): QuantizedParameter[] {
  return parameterSpecs(config).flatMap((spec) => {
    const { name, shape, init } = spec
    const role = typeof init === 'string' ? null : init.role
    const isHead = role === 'head' || (role === 'embedding' && config.tied)
    const isMix = name.endsWith(sharedMix(''))
    if (!isHead && (isMix || (role !== 'matrix' && role !== 'branch'))) return []
    const [rows, columns] = shape.slice(-2) as [number, number]
    return {
      spec,
      count: spec.stacked ? (shape[0] as number) : 1,
      ...(isHead ? { inner: columns, columns: rows } : { inner: rows, columns }),
      transposed: isHead,
    }
  })
}

/** Name of the input with the quantized weights of a parameter. */
export const quantizedName = (parameter: string): string => `${parameter}.quantized`

/** The input with the quantized weights of a parameter. */
export function quantizedInput({ spec, count, inner, columns }: QuantizedParameter, bits: Bits): QuantizedMatrix {
  const data = input(quantizedName(spec.name), 'int32', [count, quantizedWords(bits, inner, columns)])
  return { data, inner, columns, bits }
}
