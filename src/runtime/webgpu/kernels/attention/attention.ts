/**
 * Causal attention directly from the rows of qkv (Dao 2023, FlashAttention-2): the matrix of scores never exists in
 * memory. The gradient gets neither scores nor statistics from the forward pass, so it begins with another one.
 */
import type { Kernel } from '../../contract.ts'
import { bytesOf } from '../vectors.ts'
import { keyValueGradient, queryGradient } from './backward.ts'
import { attentionCall } from './call.ts'
import { forward, statistics } from './forward.ts'
import type { HeadShape } from './heads.ts'

/** Inputs qkv [T, (H + 2·KV)·d] (, cos, sin [S, d/2]) (, first visible position int32 [T]); output [T, H·d]. */
export const attention: Kernel = {
  lower(call) {
    const attention = attentionCall(call, 0)
    return { dispatches: isEmpty(attention.shape) ? [] : [forward(attention)] }
  },
  work(call) {
    const { shape } = attentionCall(call, 0)
    return { flops: flopsOf(shape, 2), bytes: bytesOf(call.inputs[0], call.outputs[0]) }
  },
  halves: { inputs: [0], outputs: [0] },
}

/** Inputs dy [T, H·d], qkv [T, (H + 2·KV)·d] (, cos, sin) (, first); output the gradient of qkv. */
export const attentionGradient: Kernel = {
  lower(call) {
    const attention = attentionCall(call, 1)
    const { batch, heads, sequence } = attention.shape
    if (isEmpty(attention.shape)) return { dispatches: [] }
    return {
      scratch: [{ dtype: 'float32', shape: [2, batch, heads, sequence] }],
      dispatches: [statistics(attention), queryGradient(attention), keyValueGradient(attention)],
    }
  },
  work(call) {
    const { shape } = attentionCall(call, 1)
    // Two products for the statistics, three for queries, four for keys and values.
    return { flops: flopsOf(shape, 9), bytes: bytesOf(call.inputs[0], call.inputs[1], call.outputs[0]) }
  },
  halves: { inputs: [0, 1], outputs: [0] },
}

const elementsOf = ({ batch, sequence, heads, size }: HeadShape): number => batch * sequence * heads * size

const isEmpty = (shape: HeadShape): boolean => elementsOf(shape) === 0

/** Half of the scores are masked. */
const flopsOf = ({ batch, sequence, heads, size }: HeadShape, products: number): number =>
  products * batch * heads * sequence * (sequence + 1) * size
