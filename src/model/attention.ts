/** Causal self-attention with rotary or learned positions. */
import { attentionKernel, causalAttention } from '../graph/ops/attention.ts'
import { rotate } from '../graph/ops/fused.ts'
import { reshape, split, transpose } from '../graph/ops/shape.ts'
import { constant, hasKernel, type Tensor } from '../graph/tensor.ts'
import type { ModelConfig } from './config.ts'
import type { Pass } from './moe.ts'

/** The projections of a layer's attention: matrices or routed experts. */
export interface Projections {
  /** Queries, keys and values: x_TD → [T, 3D]. */
  qkv(x_TD: Tensor): Tensor
  /** [T, D] → [T, D]. */
  output(y_TD: Tensor): Tensor
}

/**
 * Attention of a layer on its normed input. x_TD is B sequences of S tokens, concatenated. A token sees itself and
 * earlier tokens of its sequence, starting at `firstVisible_T` if given.
 */
export function attention(
  config: ModelConfig,
  project: Projections,
  x_TD: Tensor,
  { sequence, firstVisible_T }: Pick<Pass, 'sequence' | 'firstVisible_T'>,
): Tensor {
  const { width, heads } = config
  const [tokens = 0] = x_TD.shape
  const [batch, head] = [tokens / sequence, width / heads]
  const qkv_TX = project.qkv(x_TD)
  const scale = 1 / Math.sqrt(head)
  if (head > 1 && hasKernel('attention', x_TD.dtype)) {
    const { cos, sin } = rotaryTables(config, sequence, x_TD.dtype)
    const angles = config.positions === 'rotary' ? ([cos, sin] as const) : null
    const y_TD = attentionKernel(qkv_TX, angles, { batch, sequence, heads, scale }, firstVisible_T)
    return project.output(y_TD)
  }
  const qkv_BHSd = transpose(reshape(qkv_TX, [batch, sequence, 3 * heads, head]), [0, 2, 1, 3])
  const [q, k, v] = split3(qkv_BHSd, config, sequence)
  const y_BHSd = causalAttention(q, k, v, scale, firstVisible_T)
  const y_TD = reshape(transpose(y_BHSd, [0, 2, 1, 3]), [tokens, width])
  return project.output(y_TD)
}

function split3(qkv: Tensor, config: ModelConfig, sequence: number): [q: Tensor, k: Tensor, v: Tensor] {
  const { heads } = config
  if (config.positions !== 'rotary') return split(qkv, 1, [heads, heads, heads]) as [Tensor, Tensor, Tensor]
  const [qk, v] = split(qkv, 1, [2 * heads, heads]) as [Tensor, Tensor]
  const { cos, sin } = rotaryTables(config, sequence, qkv.dtype)
  const [q, k] = split(rotate(qk, cos, sin), 1, [heads, heads]) as [Tensor, Tensor]
  return [q, k, v]
}

/** cos and sin [S, d/2] of the angles position · base^(−2i/d). */
function rotaryTables({ width, heads, rotaryBase }: ModelConfig, sequence: number, dtype: Tensor['dtype']) {
  const size = width / heads
  const shape = [sequence, size / 2]
  const angles = Array.from({ length: sequence * (size / 2) }, (_, at) => {
    const [position, i] = [Math.floor(at / (size / 2)), at % (size / 2)]
    return position * rotaryBase ** ((-2 * i) / size)
  })
  return { cos: constant(angles.map(Math.cos), dtype, shape), sin: constant(angles.map(Math.sin), dtype, shape) }
}
