/** Which parameters are stored as int8 if weights are int8, and the input of a program that holds such a parameter. */
import { type Int8Matrix, int8Words } from '../graph/ops/int8.ts'
import { input } from '../graph/tensor.ts'
import type { ModelConfig } from './config.ts'
import { type ParameterSpec, parameterSpecs, sharedMix } from './parameters.ts'

export interface Int8Parameter {
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
export function int8Parameters(config: ModelConfig): Int8Parameter[] {
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

/** Name of the input with the int8 weights of a parameter. */
export const int8Name = (parameter: string): string => `${parameter}.int8`

/** The input with the int8 weights of a parameter. */
export function int8Input({ spec, count, inner, columns }: Int8Parameter): Int8Matrix {
  return { data: input(int8Name(spec.name), 'int32', [count, int8Words(inner, columns)]), inner, columns }
}
