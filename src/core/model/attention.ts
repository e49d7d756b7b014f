/** Causal self-attention with rotary or learned positions. */
import * as kernels from '../graph/kernels/attention.ts'
import { hasKernel } from '../graph/kernels/declaration.ts'
import { type Angles, attentionKernel, causalAttention } from '../graph/ops/attention.ts'
import { maximum } from '../graph/ops/elementwise.ts'
import { rmsNorm, rotate } from '../graph/ops/fused.ts'
import { concat, reshape, split, transpose } from '../graph/ops/shape.ts'
import { sizeOf } from '../graph/shape.ts'
import { constant, type Tensor } from '../graph/tensor.ts'
import { attentionColumns, attentionScaleOf, headWidthOf, type ModelConfig, windowOf } from './config.ts'
import type { Pass } from './moe.ts'
import { rotationOf } from './rotary.ts'

/**
 * The projections of a layer's attention: matrices or routed experts. X are the columns of queries, keys and values.
 */
export interface Projections {
  /** Queries, keys and values: x_TD → [T, X]. */
  qkv(x_TD: Tensor): Tensor
  /** [T, H·d] → [T, D]. */
  output(y_TX: Tensor): Tensor
}

/** Weights of the norms of queries and keys; null if the model has no such norms. */
export type QueryKeyNorms = { readonly query: Tensor; readonly key: Tensor } | null

/**
 * Attention of a layer on its normed input. x_TD is B sequences of S tokens, concatenated. A token sees itself and earlier
 * tokens: those of its sequence and of `past`, as far as they are in the layer's window and not before `firstVisible_T`.
 */
export function attention(
  config: ModelConfig,
  layer: number,
  { qkv, output, norms }: Projections & { readonly norms: QueryKeyNorms },
  x_TD: Tensor,
  pass: Pick<Pass, 'sequence' | 'past' | 'firstVisible_T'>,
): Tensor {
  const { heads } = config
  const { sequence, past } = pass
  const [tokens = 0] = x_TD.shape
  const [batch, head, scale] = [tokens / sequence, headWidthOf(config), attentionScaleOf(config)]
  const keyValueHeads = config.keyValueHeads ?? heads
  const qkv_TX = normQueriesAndKeys(config, qkv(x_TD), norms)
  const first_T = firstVisible(config, layer, batch, pass)
  const angles = past ? past.angles : rotaryTables(config, sequence, x_TD.dtype)
  if (head > 1 && !past && hasKernel(kernels.attention, x_TD.dtype)) {
    const shape = { batch, sequence, heads, keyHeads: keyValueHeads, scale }
    const window = windowOf(config, layer)
    return output(attentionKernel(qkv_TX, angles, { ...shape, ...(window !== null && { window }) }, first_T))
  }
  const qkv_BHSd = transpose(reshape(qkv_TX, [batch, sequence, heads + 2 * keyValueHeads, head]), [0, 2, 1, 3])
  const [q, k, v] = rotated(qkv_BHSd, config, angles)
  const afterPast = (own: Tensor, kind: 'keys' | 'values'): Tensor => {
    if (!past) return own
    const rows = reshape(past.rows(layer, kind), [1, past.length, keyValueHeads, head])
    return concat([transpose(rows, [0, 2, 1, 3]), own], 2)
  }
  const y_BHSd = causalAttention(q, afterPast(k, 'keys'), afterPast(v, 'values'), scale, first_T)
  return output(reshape(transpose(y_BHSd, [0, 2, 1, 3]), [tokens, heads * head]))
}

/** RMS norm of the queries and the keys, over all heads together or over each head. */
export function normQueriesAndKeys(config: ModelConfig, qkv_TX: Tensor, norms: QueryKeyNorms): Tensor {
  if (!norms) return qkv_TX
  const head = headWidthOf(config)
  const { queries, keys } = attentionColumns(config)
  const [q, k, v] = split(qkv_TX, 1, [queries, keys, keys]) as [Tensor, Tensor, Tensor]
  const norm = (x: Tensor, weight: Tensor): Tensor => {
    const rows = config.queryKeyNorm === 'head' ? reshape(x, [sizeOf(x.shape) / head, head]) : x
    return reshape(rmsNorm(rows, weight, config.normEpsilon), x.shape)
  }
  return concat([norm(q, norms.query), norm(k, norms.key), v], 1)
}

/** The first position, or row of the past, that each token sees, int32 [T]; undefined if it is 0 for all. */
function firstVisible(
  config: ModelConfig,
  layer: number,
  batch: number,
  { sequence, past, firstVisible_T }: Pick<Pass, 'sequence' | 'past' | 'firstVisible_T'>,
): Tensor | undefined {
  const window = windowOf(config, layer)
  const before = past?.length ?? 0
  if (window === null || window >= before + sequence) return firstVisible_T
  const inWindow_T = constant(
    Int32Array.from({ length: batch * sequence }, (_, t) => Math.max(0, before + (t % sequence) - window + 1)),
    'int32',
  )
  return firstVisible_T ? maximum(firstVisible_T, inWindow_T) : inWindow_T
}

function rotated(qkv: Tensor, config: ModelConfig, angles: Angles | null): [q: Tensor, k: Tensor, v: Tensor] {
  const { heads } = config
  const keyValueHeads = config.keyValueHeads ?? heads
  if (!angles) return split(qkv, 1, [heads, keyValueHeads, keyValueHeads]) as [Tensor, Tensor, Tensor]
  const [qk, v] = split(qkv, 1, [heads + keyValueHeads, keyValueHeads]) as [Tensor, Tensor]
  const [q, k] = split(rotate(qk, ...angles), 1, [heads, keyValueHeads]) as [Tensor, Tensor]
  return [q, k, v]
}

/** cos and sin [S, d/2] of the angles of each position; null if positions are not rotary. */
function rotaryTables(config: ModelConfig, sequence: number, dtype: Tensor['dtype']): Angles | null {
  if (config.positions !== 'rotary') return null
  const { frequencies, scale } = rotationOf(config)
  const shape = [sequence, frequencies.length]
  const table = (f: (angle: number) => number) => {
    const values = Array.from({ length: sequence }, (_, position) =>
      frequencies.map((each) => scale * f(position * each)),
    )
    return constant(values.flat(), dtype, shape)
  }
  return [table(Math.cos), table(Math.sin)]
}
