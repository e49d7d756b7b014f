/**
 * The feed-forward network: one function for dense layers [T, D], padded experts [N, C, D] and the
 * ragged rows of one expert [?, D].
 */
import { multiply } from '../graph/ops/elementwise.ts'
import { erfGate, silu } from '../graph/ops/fused.ts'
import { matmul } from '../graph/ops/matmul.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { ModelConfig } from './config.ts'

/** The matrices of a feed-forward network. `rows` is their first dimension: the model width or the hidden width. */
export const ffnParameters = ({ activation }: Pick<ModelConfig, 'activation'>) =>
  [
    { name: 'up', rows: 'width' },
    ...(activation === 'swiglu' ? ([{ name: 'gate', rows: 'width' }] as const) : []),
    { name: 'down', rows: 'hidden' },
  ] as const

export interface FfnWeights {
  /** [..., D, F] */
  readonly up: Tensor
  /** [..., D, F], for SwiGLU. */
  readonly gate?: Tensor
  /** [..., F, D] */
  readonly down: Tensor
}

/** The matrices of a feed-forward network, each looked up by name. */
export function weightsOf<T>(config: ModelConfig, find: (matrix: string) => T): { up: T; gate?: T; down: T } {
  return {
    up: find('up'),
    ...(config.activation === 'swiglu' && { gate: find('gate') }),
    down: find('down'),
  }
}

/** GELU: gelu(x·up)·down. SwiGLU: (silu(x·gate) ∘ x·up)·down (Shazeer 2020). No biases. */
export const ffn = (x: Tensor, weights: FfnWeights): Tensor => startFfn(x, weights)()

/**
 * {@link ffn} in two parts: the call computes the hidden activations, a call of the result their product with `down`.
 */
export function startFfn(x: Tensor, { up, gate, down }: FfnWeights): () => Tensor {
  if (gate) {
    const hidden = multiply(silu(matmul(x, gate)), matmul(x, up))
    return () => matmul(hidden, down)
  }
  const hidden = erfGate(matmul(x, up, { alpha: Math.SQRT1_2 }))
  return () => matmul(hidden, down, { alpha: Math.SQRT1_2 })
}
