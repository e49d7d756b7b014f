/**
 * Causal attention directly from the rows of qkv (Dao 2023, FlashAttention-2): the matrix of scores never exists in
 * memory. The forward pass keeps one number of each query, from which the gradient recomputes the scores.
 */
import * as declared from '../../../../core/graph/kernels/attention.ts'
import { implement, scratch } from '../contract.ts'
import { bytesOf } from '../vectors.ts'
import { keyValueGradient, queryGradient } from './backward.ts'
import { attentionCall } from './call.ts'
import { forward } from './forward.ts'
import type { HeadShape } from './heads.ts'
import { statistics } from './statistics.ts'

export const attention = implement(declared.attention, {
  lower(call) {
    const attention = attentionCall(call)
    return isEmpty(attention.shape) ? [] : [forward(attention, call.outputs.y, call.outputs.logSums)]
  },
  work(call) {
    const { shape } = attentionCall(call)
    return { flops: flopsOf(shape, 2), bytes: bytesOf(call.inputs.qkv, call.outputs.y) }
  },
  halves: { inputs: ['qkv'], outputs: ['y'] },
})

export const attentionGradient = implement(declared.attentionGradient, {
  lower(call) {
    const attention = attentionCall(call)
    const { shape } = attention
    if (isEmpty(shape)) return []
    const ofQueries = scratch('float32', [2, shape.batch, shape.heads, shape.sequence])
    const gradient = { ...attention, statistics: ofQueries, dQkv: call.outputs.dQkv }
    return [statistics(shape, call.inputs, ofQueries), queryGradient(gradient), keyValueGradient(gradient)]
  },
  work(call) {
    const { dy, qkv, y } = call.inputs
    // The gradient takes three products for queries, and four for keys and values.
    return { flops: flopsOf(attentionCall(call).shape, 7), bytes: bytesOf(dy, qkv, y, call.outputs.dQkv) }
  },
  halves: { inputs: ['dy', 'qkv', 'y'], outputs: ['dQkv'] },
})

const elementsOf = ({ batch, sequence, heads, size }: HeadShape): number => batch * sequence * heads * size

const isEmpty = (shape: HeadShape): boolean => elementsOf(shape) === 0

/** Number of operations of some products, of which half of the scores are masked. */
const flopsOf = ({ batch, sequence, heads, size }: HeadShape, products: number): number =>
  products * batch * heads * sequence * (sequence + 1) * size
