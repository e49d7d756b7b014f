/** Kernels of attention: H heads of queries and KV heads of keys and values, each of width d. */
import { dim } from '../shape.ts'
import { declareKernel } from './declaration.ts'

export type AttentionAttributes = {
  readonly batch: number
  readonly sequence: number
  readonly heads: number
  readonly keyHeads: number
  /** Largest number of positions that a query sees, its own included. */
  readonly window: number
  /** Factor of the scores. */
  readonly scale: { readonly float: number }
}

/**
 * Causal attention of the rows qkv [T, (H + 2·KV)·d] of B sequences of S tokens: y [T, H·d], and log Σ exp(score) of
 * each query [B, H, S]. Queries and keys are rotated by the angles cos and sin [S, d/2], if given. A query sees no
 * position before `first` int32 [T].
 */
export const attention = declareKernel({
  name: 'attention',
  inputs: ['qkv', 'cos?', 'sin?', 'first?'],
  outputs: ['y', 'logSums'],
  results: ({ qkv: { dtype, shape } }, { batch, sequence, heads, keyHeads }: AttentionAttributes) => ({
    y: { dtype, shape: [dim(shape, 0), (dim(shape, 1) * heads) / (heads + 2 * keyHeads)] },
    logSums: { dtype, shape: [batch, heads, sequence] },
  }),
  local: true,
})

/** The gradient of qkv in {@link attention}. */
export const attentionGradient = declareKernel({
  name: 'attention-gradient',
  inputs: ['dy', 'qkv', 'y', 'logSums', 'cos?', 'sin?', 'first?'],
  outputs: ['dQkv'],
  results: ({ qkv }, _: AttentionAttributes) => ({ dQkv: qkv }),
  local: true,
})

/**
 * Attention of a token of each of R texts, at `position` int32 [R], over itself and the earlier positions of its text,
 * from qkv [R, (H + 2·KV)·d]: y [R, H·d]. The caches of keys and values [N·P, KV·d] consist of N pages of P rows, and
 * `pages` int32 [R, ⌈S/P⌉] names those of each text: its position p is row p % P of its page ⌊p/P⌋. Texts may share
 * pages, but not the one with the position of a token. The new caches are the given ones with the rows of the positions
 * replaced, in the memory of the inputs; elsewhere, only the rows of the texts' positions are written. cos and sin
 * [R, d/2] are the angles of the positions.
 */
export const attendCached = declareKernel({
  name: 'attend-cached',
  inputs: ['qkv', 'position', 'pages', 'keys', 'values', 'cos?', 'sin?'],
  outputs: ['y', 'newKeys', 'newValues'],
  results: (
    { qkv, keys, values },
    _: {
      readonly heads: number
      /** Positions of a text, S. */
      readonly sequence: number
      /** Positions of a page, P: a multiple of 32, or all S. */
      readonly page: number
      readonly window: number
      readonly scale: { readonly float: number }
    },
  ) => ({
    y: { dtype: qkv.dtype, shape: [dim(qkv.shape, 0), dim(qkv.shape, 1) - 2 * dim(keys.shape, 1)] },
    newKeys: keys,
    newValues: values,
  }),
  local: true,
})
