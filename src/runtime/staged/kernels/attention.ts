/**
 * Causal self-attention, directly from the rows of qkv. A task is a few heads of a sequence. It first gathers
 * their rotated queries and keys (each row of qkv is read once for all heads), then processes blocks of
 * queries, all heads at once. The scores of a block are a few hundred kilobytes, so they stay in the cache;
 * the whole score matrix never exists, and a block uses only the keys that it may see. The gradient
 * recomputes the scores.
 *
 * Queries are scaled when they are rotated, so softmax(q·kᵀ) and the gradient of k need no further factor;
 * the gradient of q is scaled when it is rotated back.
 */
import type { Kernel, KernelTensor } from '../contract.ts'
import { type Factor, flopsOf, Heads, optionalInputs, scratchOf, shapeOf } from './heads.ts'

/** Inputs qkv [T, 3·D] (, cos, sin [S, d/2]) (, first visible position int32 [T]); output [T, D]. */
export const attention: Kernel = {
  provider: 'oneDNN',
  scratch: (call) => scratchOf(shapeOf(call, 0), 5, 2),

  prepare(call, thread) {
    const [qkv] = call.inputs as [KernelTensor]
    const [y] = call.outputs as [KernelTensor]
    const shape = shapeOf(call, 0)
    const { size, scale, stride, width, headsPerTask } = shape
    const heads = new Heads(shape, thread, optionalInputs(call, 0))
    const { dnnl } = heads
    const [q, k] = [heads.reserveMatrices(), heads.reserveMatrices()]
    const rounded = [heads.reserveMatrices(), heads.reserveMatrices(), heads.reserveMatrices()] as const
    const [scores, probabilities] = [heads.reserveScores(), heads.reserveScores()]
    return {
      tasks: heads.tasks,
      run(task) {
        heads.gather(heads.offsetOf(qkv, task, 0), q, scale)
        heads.gather(heads.offsetOf(qkv, task, 1), k, 1)
        const [query, key] = [heads.gathered(q, rounded[0]), heads.gathered(k, rounded[1])]
        const value = heads.sideBySide(heads.address(heads.offsetOf(qkv, task, 2)), rounded[2], stride)
        const out = y.address + 4 * heads.start(task, width)
        for (const block of heads.blocks) {
          const { from, rows, keys } = block
          const probability = heads.scoresOf(probabilities, rows, keys)
          heads.score(task, query, key, scores, block)
          dnnl.softmax(headsPerTask * rows, keys, keys, dnnl.factorType).run(heads.address(scores), probability.address)
          const address = out + 4 * from * width
          heads.multiply([rows, keys, size], [probability], [value], { address, stride: width, head: size })
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
    const { sequence, size, scale, stride, width, headsPerTask } = shape
    const heads = new Heads(shape, thread, optionalInputs(call, 1))
    const { dnnl } = heads
    const reserve = () => heads.reserveMatrices()
    const [q, k, dQ, dK] = [reserve(), reserve(), reserve(), reserve()]
    const rounded = [reserve(), reserve(), reserve(), reserve()] as const
    const [scores, probabilities, dProbabilities, dScores] = [
      heads.reserveScores(),
      heads.reserveScores(),
      heads.reserveScores(),
      heads.reserveScores(),
    ]
    // The last block sees all keys, so it comes first and writes; the others add.
    const blocks = heads.blocks.toReversed()
    const matrices = (offset: number): Factor => ({
      address: heads.address(offset),
      stride: size,
      head: sequence * size,
    })
    return {
      tasks: heads.tasks,
      run(task) {
        heads.gather(heads.offsetOf(qkv, task, 0), q, scale)
        heads.gather(heads.offsetOf(qkv, task, 1), k, 1)
        const [query, key] = [heads.gathered(q, rounded[0]), heads.gathered(k, rounded[1])]
        const value = heads.sideBySide(heads.address(heads.offsetOf(qkv, task, 2)), rounded[2], stride)
        const out = heads.sideBySide(dy.address + 4 * heads.start(task, width), rounded[3], width)
        const dValue = { address: heads.address(heads.offsetOf(dQkv, task, 2)), stride, head: size }
        const [dQuery, dKey] = [matrices(dQ), matrices(dK)]
        blocks.forEach((block, i) => {
          const { from, rows, keys } = block
          const plus = i === 0 ? undefined : 'c'
          heads.score(task, query, key, scores, block)
          const floats = heads.address(scores)
          dnnl.softmax(headsPerTask * rows, keys).run(floats, floats)
          const probability = {
            ...heads.scoresOf(scores, rows, keys),
            address: heads.prepared(floats, probabilities, headsPerTask * rows, keys, keys),
          }
          heads.multiply([keys, rows, size], [probability, 'ᵀ'], [out, '', from * out.stride], dValue, plus)
          const dProbability = heads.scoresOf(dProbabilities, rows, keys)
          heads.multiply([rows, size, keys], [out, '', from * out.stride], [value, 'ᵀ'], dProbability)
          const dScore = heads.scoresOf(dScores, rows, keys)
          dnnl
            .softmaxGradient(headsPerTask * rows, keys, keys, dnnl.factorType)
            .run(floats, dProbability.address, dScore.address)
          heads.multiply([keys, rows, size], [dScore, 'ᵀ'], [query, '', from * query.stride], dKey, plus)
          const dQueryBlock = { ...dQuery, address: dQuery.address + 4 * from * size }
          heads.multiply([rows, keys, size], [dScore], [key], dQueryBlock)
        })
        heads.scatter(dQ, heads.offsetOf(dQkv, task, 0), scale)
        heads.scatter(dK, heads.offsetOf(dQkv, task, 1), 1)
      },
    }
  },

  work(call) {
    const shape = shapeOf(call, 1)
    return { flops: flopsOf(shape, 5), bytes: 4 * shape.batch * shape.sequence * 7 * shape.width }
  },
}
