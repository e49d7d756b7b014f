/**
 * Causal attention directly from the rows of qkv (Dao 2023, FlashAttention-2): the matrix of scores never exists in
 * memory. The forward pass keeps one number of each query, from which the gradient recomputes them.
 */
import type { Kernel } from '../../contract.ts'
import { bytesOf } from '../vectors.ts'
import { keyValueGradient, queryGradient } from './backward.ts'
import { attentionCall } from './call.ts'
import { forward } from './forward.ts'
import type { HeadShape } from './heads.ts'
import { statistics } from './statistics.ts'

/**
 * Inputs qkv [T, (H + 2·KV)·d] (, cos, sin [S, d/2]) (, first visible position int32 [T]); outputs y [T, H·d] and
 * log Σ exp(score) of each query [B, H, S].
 */
export const attention: Kernel = {
  lower(call) {
    const attention = attentionCall(call, 'forward')
    return { dispatches: isEmpty(attention.shape) ? [] : [forward(attention)] }
  },
  work(call) {
    const { shape } = attentionCall(call, 'forward')
    return { flops: flopsOf(shape, 2), bytes: bytesOf(call.inputs[0], call.outputs[0]) }
  },
  halves: { inputs: [0], outputs: [0] },
}

/**
 * Inputs dy [T, H·d], qkv [T, (H + 2·KV)·d], y [T, H·d] and log Σ exp(score) [B, H, S] (, cos, sin) (, first); output
 * the gradient of qkv.
 */
export const attentionGradient: Kernel = {
  lower(call) {
    const attention = attentionCall(call, 'backward')
    const { batch, heads, sequence } = attention.shape
    if (isEmpty(attention.shape)) return { dispatches: [] }
    return {
      scratch: [{ dtype: 'float32', shape: [2, batch, heads, sequence] }],
      dispatches: [statistics(attention, call.inputs[2]?.dtype), queryGradient(attention), keyValueGradient(attention)],
    }
  },
  work(call) {
    const { shape } = attentionCall(call, 'backward')
    // Three products for queries, four for keys and values.
    return { flops: flopsOf(shape, 7), bytes: bytesOf(...call.inputs.slice(0, 3), call.outputs[0]) }
  },
  halves: { inputs: [0, 1, 2], outputs: [0] },
}

const elementsOf = ({ batch, sequence, heads, size }: HeadShape): number => batch * sequence * heads * size

const isEmpty = (shape: HeadShape): boolean => elementsOf(shape) === 0

/** Half of the scores are masked. */
const flopsOf = ({ batch, sequence, heads, size }: HeadShape, products: number): number =>
  products * batch * heads * sequence * (sequence + 1) * size
