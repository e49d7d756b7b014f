/**
 * Causal self-attention straight from the rows of qkv. A task is a few heads of a sequence: their rotated
 * queries and keys are gathered first (a row of qkv is read once, not head by head), then blocks of
 * queries are worked through, all heads of the task at once. Scores of a block are a few hundred kilobytes:
 * they stay in the cache and are never written out whole, and a block looks only at the keys that it may
 * see. The gradient computes the scores anew.
 *
 * Queries are scaled when they are rotated: softmax(q·kᵀ) of scaled q needs no further factor, nor does
 * the gradient of k, and that of q takes the factor when it is rotated back.
 */
import type { Kernel, KernelTensor } from '../contract.ts'
import { type Factor, flopsOf, Heads, otherInputs, scratchOf, shapeOf } from './heads.ts'

/** Inputs qkv [T, 3·D] (, cos, sin [S, d/2]) (, first visible position int32 [T]); output [T, D]. */
export const attention: Kernel = {
  provider: 'oneDNN',
  scratch: (call) => scratchOf(shapeOf(call, 0), 5, 2),

  prepare(call, thread) {
    const [qkv] = call.inputs as [KernelTensor]
    const [y] = call.outputs as [KernelTensor]
    const shape = shapeOf(call, 0)
    const { size, scale, stride, width, together } = shape
    const heads = new Heads(shape, thread, otherInputs(call, 0))
    const { dnnl } = heads
    const [q, k] = [heads.takeMatrices(), heads.takeMatrices()]
    const rounded = [heads.takeMatrices(), heads.takeMatrices(), heads.takeMatrices()] as const
    const [scores, shares] = [heads.takeScores(), heads.takeScores()]
    return {
      tasks: heads.tasks,
      run(task) {
        heads.gather(heads.place(qkv, task, 0), q, scale)
        heads.gather(heads.place(qkv, task, 1), k, 1)
        const [query, key] = [heads.gathered(q, rounded[0]), heads.gathered(k, rounded[1])]
        const value = heads.sideBySide(heads.address(heads.place(qkv, task, 2)), rounded[2], stride)
        const out = y.address + 4 * heads.start(task, width)
        for (const block of heads.blocks) {
          const { from, rows, keys } = block
          const share = heads.scoresOf(shares, rows, keys)
          heads.score(task, query, key, scores, block)
          dnnl.softmaxFactor(together * rows, keys).run(heads.address(scores), share.address)
          const address = out + 4 * from * width
          heads.multiply([rows, keys, size], [share], [value], { address, stride: width, head: size })
        }
      },
    }
  },

  work(call) {
    const shape = shapeOf(call, 0)
    return { flops: flopsOf(shape, 2), bytes: 4 * shape.batch * shape.sequence * 4 * shape.width }
  },
}

/** Inputs dy [T, D], qkv [T, 3·D] (, cos, sin) (, first); output the gradient of qkv. */
export const attentionGradient: Kernel = {
  provider: 'oneDNN',
  scratch: (call) => scratchOf(shapeOf(call, 1), 8, 4),

  prepare(call, thread) {
    const [dy, qkv] = call.inputs as [KernelTensor, KernelTensor]
    const [dQkv] = call.outputs as [KernelTensor]
    const shape = shapeOf(call, 1)
    const { sequence, size, scale, stride, width, together } = shape
    const heads = new Heads(shape, thread, otherInputs(call, 1))
    const { dnnl } = heads
    const take = () => heads.takeMatrices()
    const [q, k, dQ, dK] = [take(), take(), take(), take()]
    const rounded = [take(), take(), take(), take()] as const
    const [scores, shares, dShares, dScores] = [
      heads.takeScores(),
      heads.takeScores(),
      heads.takeScores(),
      heads.takeScores(),
    ]
    // The last block sees all keys: it writes what the others add to.
    const blocks = heads.blocks.toReversed()
    const matrices = (place: number): Factor => ({ address: heads.address(place), stride: size, head: sequence * size })
    return {
      tasks: heads.tasks,
      run(task) {
        heads.gather(heads.place(qkv, task, 0), q, scale)
        heads.gather(heads.place(qkv, task, 1), k, 1)
        const [query, key] = [heads.gathered(q, rounded[0]), heads.gathered(k, rounded[1])]
        const value = heads.sideBySide(heads.address(heads.place(qkv, task, 2)), rounded[2], stride)
        const out = heads.sideBySide(dy.address + 4 * heads.start(task, width), rounded[3], width)
        const dValue = { address: heads.address(heads.place(dQkv, task, 2)), stride, head: size }
        const [dQuery, dKey] = [matrices(dQ), matrices(dK)]
        blocks.forEach((block, i) => {
          const { from, rows, keys } = block
          const plus = i === 0 ? undefined : 'c'
          heads.score(task, query, key, scores, block)
          const floats = heads.address(scores)
          dnnl.softmax(together * rows, keys).run(floats, floats)
          const share = {
            ...heads.scoresOf(scores, rows, keys),
            address: heads.prepared(floats, shares, together * rows, keys, keys),
          }
          heads.multiply([keys, rows, size], [share, 'ᵀ'], [out, '', from * out.stride], dValue, plus)
          const dShare = heads.scoresOf(dShares, rows, keys)
          heads.multiply([rows, size, keys], [out, '', from * out.stride], [value, 'ᵀ'], dShare)
          const dScore = heads.scoresOf(dScores, rows, keys)
          dnnl.softmaxGradientFactor(together * rows, keys).run(floats, dShare.address, dScore.address)
          heads.multiply([keys, rows, size], [dScore, 'ᵀ'], [query, '', from * query.stride], dKey, plus)
          const dQueryBlock = { ...dQuery, address: dQuery.address + 4 * from * size }
          heads.multiply([rows, keys, size], [dScore], [key], dQueryBlock)
        })
        heads.scatter(dQ, heads.place(dQkv, task, 0), scale)
        heads.scatter(dK, heads.place(dQkv, task, 1), 1)
      },
    }
  },

  work(call) {
    const shape = shapeOf(call, 1)
    return { flops: flopsOf(shape, 5), bytes: 4 * shape.batch * shape.sequence * 7 * shape.width }
  },
}
