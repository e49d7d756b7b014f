/**
 * Causal self-attention, directly from the rows of qkv. A task is a few heads of keys of a sequence, with the queries
 * that share them (`heads.ts`). It first gathers the rotated keys, then, turn by turn, the rotated queries (each row of
 * qkv is read once for all heads of a turn), and processes blocks of queries, all heads of a turn at once. The scores of a block are a few hundred kilobytes, so they stay in the cache;
 * the whole score matrix never exists, and a block uses only the keys that it may see. The gradient
 * recomputes the scores.
 *
 * Queries are scaled when they are rotated, so softmax(q·kᵀ) and the gradient of k need no further factor;
 * the gradient of q is scaled when it is rotated back.
 */
import type { Kernel, KernelTensor } from '../contract.ts'
import { flopsOf, scratchOf, shapeOf } from './head-shape.ts'
import { type Factor, Heads, optionalInputs } from './heads.ts'

/** Inputs qkv [T, (H + 2·KV)·d] (, cos, sin [S, d/2]) (, first visible position int32 [T]); output [T, H·d]. */
export const attention: Kernel = {
  provider: 'oneDNN',
  scratch: (call) => scratchOf(shapeOf(call, 0), 5, 2),

  prepare(call, thread) {
    const [qkv] = call.inputs as [KernelTensor]
    const [y] = call.outputs as [KernelTensor]
    const shape = shapeOf(call, 0)
    const { size, scale, stride, turns, width, headsPerTask } = shape
    const heads = new Heads(shape, thread, optionalInputs(call, 0))
    const { dnnl } = heads
    const [q, k] = [heads.reserveMatrices(), heads.reserveMatrices()]
    const rounded = [heads.reserveMatrices(), heads.reserveMatrices(), heads.reserveMatrices()] as const
    const [scores, probabilities] = [heads.reserveScores(), heads.reserveScores()]
    return {
      tasks: heads.tasks,
      run(task) {
        heads.gather(heads.offsetOf(qkv, task, 'keys'), size, k, 1)
        const key = heads.gathered(k, rounded[1])
        const value = heads.sideBySide(heads.address(heads.offsetOf(qkv, task, 'values')), rounded[2], stride, size)
        for (let turn = 0; turn < turns; turn++) {
          heads.gather(qkv.offset + 4 * heads.queryAt(task, stride, turn), heads.apart, q, scale)
          const query = heads.gathered(q, rounded[0])
          const out = y.address + 4 * heads.queryAt(task, width, turn)
          for (const block of heads.blocks) {
            const { from, rows, first, keys } = block
            const probability = heads.scoresOf(probabilities, rows, keys)
            heads.score(task, query, key, scores, block)
            const softmax = dnnl.softmax(headsPerTask * rows, keys, keys, dnnl.factorType)
            softmax.run(heads.address(scores), probability.address)
            const result = { address: out + 4 * from * width, stride: width, head: heads.apart }
            heads.multiply([rows, keys, size], [probability], [value, '', first * value.stride], result)
          }
        }
      },
    }
  },

  work(call) {
    const shape = shapeOf(call, 0)
    return { flops: flopsOf(shape, 2), bytes: 4 * shape.batch * shape.sequence * (shape.stride + shape.width) }
  },
}

/** A matrix of floats from a row on. */
const rowsFrom = (matrix: Factor, row: number): Factor => ({
  ...matrix,
  address: matrix.address + 4 * row * matrix.stride,
})

/** Inputs dy [T, H·d], qkv [T, (H + 2·KV)·d] (, cos, sin) (, first); output the gradient of qkv. */
export const attentionGradient: Kernel = {
  provider: 'oneDNN',
  scratch(call) {
    const shape = shapeOf(call, 1)
    return scratchOf(shape, 7 + shape.turns, 4)
  },

  prepare(call, thread) {
    const [dy, qkv] = call.inputs as [KernelTensor, KernelTensor]
    const [dQkv] = call.outputs as [KernelTensor]
    const shape = shapeOf(call, 1)
    const { sequence, size, scale, stride, turns, width, headsPerTask } = shape
    const heads = new Heads(shape, thread, optionalInputs(call, 1))
    const { dnnl } = heads
    const reserve = () => heads.reserveMatrices()
    const [q, k, dQ, dK] = [reserve(), reserve(), reserve(), reserve()]
    const rounded = [reserve(), reserve(), reserve(), heads.reserveMatrices(turns)] as const
    const [scores, probabilities, dProbabilities, dScores] = [
      heads.reserveScores(),
      heads.reserveScores(),
      heads.reserveScores(),
      heads.reserveScores(),
    ]
    // In the first turn the last block comes first and writes; the others add. Without a window it has all keys.
    const blocks = heads.blocks.toReversed()
    const unwritten = blocks[0]?.first ?? 0
    const matrices = (offset: number): Factor => ({
      address: heads.address(offset),
      stride: size,
      head: sequence * size,
    })
    return {
      tasks: heads.tasks,
      run(task) {
        heads.gather(heads.offsetOf(qkv, task, 'keys'), size, k, 1)
        const key = heads.gathered(k, rounded[1])
        const value = heads.sideBySide(heads.address(heads.offsetOf(qkv, task, 'values')), rounded[2], stride, size)
        const out = heads.sideBySide(dy.address + 4 * heads.queryAt(task, width), rounded[3], width, heads.apart)
        const dValue = { address: heads.address(heads.offsetOf(dQkv, task, 'values')), stride, head: size }
        const [dQuery, dKey] = [matrices(dQ), matrices(dK)]
        heads.clearRows(heads.offsetOf(dQkv, task, 'values'), unwritten)
        heads.clearMatrices(dK, unwritten)
        for (let turn = 0; turn < turns; turn++) {
          const queries = 4 * heads.queryAt(task, stride, turn)
          heads.gather(qkv.offset + queries, heads.apart, q, scale)
          const query = heads.gathered(q, rounded[0])
          blocks.forEach((block, i) => {
            const { from, rows, first, keys } = block
            const plus = turn === 0 && i === 0 ? undefined : 'c'
            const outAt = from * out.stride + turn * size
            heads.score(task, query, key, scores, block)
            const floats = heads.address(scores)
            dnnl.softmax(headsPerTask * rows, keys).run(floats, floats)
            const probability = {
              ...heads.scoresOf(scores, rows, keys),
              address: heads.prepared(floats, probabilities, headsPerTask * rows, keys, keys),
            }
            heads.multiply([keys, rows, size], [probability, 'ᵀ'], [out, '', outAt], rowsFrom(dValue, first), plus)
            const dProbability = heads.scoresOf(dProbabilities, rows, keys)
            heads.multiply([rows, size, keys], [out, '', outAt], [value, 'ᵀ', first * value.stride], dProbability)
            const dScore = heads.scoresOf(dScores, rows, keys)
            dnnl
              .softmaxGradient(headsPerTask * rows, keys, keys, dnnl.factorType)
              .run(floats, dProbability.address, dScore.address)
            heads.multiply(
              [keys, rows, size],
              [dScore, 'ᵀ'],
              [query, '', from * query.stride],
              rowsFrom(dKey, first),
              plus,
            )
            heads.multiply([rows, keys, size], [dScore], [key, '', first * key.stride], rowsFrom(dQuery, from))
          })
          heads.scatter(dQ, dQkv.offset + queries, heads.apart, scale)
        }
        heads.scatter(dK, heads.offsetOf(dQkv, task, 'keys'), size, 1)
      },
    }
  },

  work(call) {
    const shape = shapeOf(call, 1)
    return { flops: flopsOf(shape, 5), bytes: 4 * shape.batch * shape.sequence * (2 * shape.stride + shape.width) }
  },
}
