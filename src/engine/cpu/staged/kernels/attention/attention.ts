/**
 * Causal self-attention, directly from the rows of qkv. A task is a few heads of keys of a sequence, with the queries
 * that share them (`heads.ts`). It first gathers rotated keys and values, then, turn by turn, the rotated queries, and
 * processes blocks of queries: their scores stay in the cache, and the whole score matrix never exists. A block uses
 * only the keys that it may see.
 *
 * The gradient recomputes the probabilities from the logarithms of the sums that the forward pass keeps (Dao 2023,
 * FlashAttention-2, algorithm 2), tile by tile of the keys, so that the gradients of a tile stay in the cache too. The
 * probabilities are transposed, because a product of oneDNN can subtract a number for each column, but not for each
 * row.
 *
 * Queries are scaled when they are rotated, so softmax(q·kᵀ) and the gradient of k need no further factor;
 * the gradient of q is scaled when it is rotated back.
 */
import * as declared from '../../../../../core/graph/kernels/attention.ts'
import { implement } from '../../contract.ts'
import {
  blockScores,
  blocksOf,
  bytesFor,
  flopsOf,
  type QueryBlock,
  type Shape,
  shapeOf,
  tileScores,
  tilesOf,
} from './head-shape.ts'
import { Heads } from './heads.ts'

/** A score far below any other, but finite. */
const MASKED = -1e30
const EXP = { finish: 'exp' } as const
const TIMES = { finish: 'times' } as const
const ADD = { plus: 'c' } as const

export const attention = implement(declared.attention, {
  provider: 'primitives',
  halves: { inputs: ['qkv'], outputs: ['y'] },
  scratch: (call) => {
    const shape = shapeOf(call)
    return matrixBytes(shape, 4) + 2 * bytesFor(blockScores(shape))
  },

  prepare(call, thread) {
    const { qkv } = call.inputs
    const { y, logSums } = call.outputs
    const shape = shapeOf(call)
    const { size, scale, turns, headsPerTask } = shape
    const heads = new Heads(shape, thread, call.inputs)
    const { primitives } = heads
    const [query, key, value] = [heads.reserveFactors(), heads.reserveFactors(), heads.reserveFactors()]
    const result = heads.reserveFloats()
    const [scores, floats] = [heads.reserve(blockScores(shape)), heads.reserve(blockScores(shape))]
    const blocks = blocksOf(shape)
    return {
      tasks: heads.tasks,
      run(task) {
        const keysAndValues = [
          { rows: heads.rowsOf(qkv, task, 'keys'), matrices: key, scale: 1, rotate: true },
          { rows: heads.rowsOf(qkv, task, 'values'), matrices: value, scale: 1, rotate: false },
        ]
        for (let turn = 0; turn < turns; turn++) {
          const queries = { rows: heads.rowsOf(qkv, task, 'queries', turn), matrices: query, scale, rotate: true }
          heads.gather(queries, ...(turn === 0 ? keysAndValues : []))
          for (const block of blocks) {
            const { from, rows, first, keys } = block
            heads.multiply(
              [rows, size, keys],
              [heads.from(query, from)],
              [heads.from(key, first), 'ᵀ'],
              heads.scoresOf(scores, rows, keys),
            )
            heads.mask(task, scores, block, MASKED)
            heads.raiseLow(scores, block)
            primitives.softmax(headsPerTask * rows, keys).run(heads.address(scores), heads.address(floats))
            heads.mask(task, floats, block, 0)
            for (let head = 0; head < headsPerTask; head++) {
              const skip = 4 * head * rows * keys
              const sums = heads.numbersOf(logSums, task, turn, head) + 4 * from
              thread.functions.logSums(scores + skip, floats + skip, rows, keys, from - first, sums)
            }
            // The scores are not needed any more.
            const address = primitives.prepare(heads.address(floats), heads.address(scores), headsPerTask * rows, keys)
            const probability = { ...heads.scoresOf(floats, rows, keys), address }
            heads.multiply([rows, keys, size], [probability], [heads.from(value, first)], heads.from(result, from))
          }
          heads.scatter({ rows: heads.rowsOf(y, task, 'queries', turn), matrices: result, scale: 1, rotate: false })
        }
      },
    }
  },

  work(call) {
    const shape = shapeOf(call)
    return { flops: flopsOf(shape, 2), bytes: 4 * shape.batch * shape.sequence * (shape.stride + shape.width) }
  },
})

export const attentionGradient = implement(declared.attentionGradient, {
  provider: 'primitives',
  halves: { inputs: ['dy', 'qkv', 'y'], outputs: ['dQkv'] },
  scratch(call) {
    const shape = shapeOf(call)
    return matrixBytes(shape, 7) + 2 * bytesFor(tileScores(shape)) + 2 * bytesFor(shape.headsPerTask * shape.sequence)
  },

  prepare(call, thread) {
    const { dy, qkv, y, logSums } = call.inputs
    const { dQkv } = call.outputs
    const shape = shapeOf(call)
    const { size, scale, turns, sequence, headsPerTask } = shape
    const heads = new Heads(shape, thread, call.inputs)
    const factors = () => heads.reserveFactors()
    const [query, key, value, out] = [factors(), factors(), factors(), factors()]
    const [dQuery, dKey, dValue] = [heads.reserveFloats(), heads.reserveFloats(), heads.reserveFloats()]
    const [probabilities, dScores] = [heads.reserve(tileScores(shape)), heads.reserve(tileScores(shape))]
    const [sums, dots] = [heads.reserve(headsPerTask * sequence), heads.reserve(headsPerTask * sequence)]
    /** Offset of a number for each head and query of a block, without gaps. */
    const ofBlock = (offset: number, { from }: QueryBlock) => offset + 4 * from * headsPerTask
    const blocks = blocksOf(shape)
    const tiles = tilesOf(shape)
    return {
      tasks: heads.tasks,
      run(task) {
        const keysAndValues = [
          { rows: heads.rowsOf(qkv, task, 'keys'), matrices: key, scale: 1, rotate: true },
          { rows: heads.rowsOf(qkv, task, 'values'), matrices: value, scale: 1, rotate: false },
        ]
        heads.clear(dKey)
        heads.clear(dValue)
        for (let turn = 0; turn < turns; turn++) {
          const outRows = heads.rowsOf(dy, task, 'queries', turn)
          heads.gather(
            { rows: heads.rowsOf(qkv, task, 'queries', turn), matrices: query, scale, rotate: true },
            ...(turn === 0 ? keysAndValues : []),
            { rows: outRows, matrices: out, scale: 1, rotate: false },
          )
          const yRows = heads.rowsOf(y, task, 'queries', turn)
          for (const block of blocks) {
            heads.dots(outRows, yRows, block, ofBlock(dots, block))
            heads.copyNumbers(logSums, task, turn, block, ofBlock(sums, block))
          }
          for (const tile of tiles) {
            const { from, rows, first, keys, starts } = tile
            const [tileQuery, tileOut] = [heads.from(query, from), heads.from(out, from)]
            const [tileKey, tileValue] = [heads.from(key, first), heads.from(value, first)]
            const probability = heads.scoresOf(probabilities, keys, rows)
            const dScore = heads.scoresOf(dScores, keys, rows)
            heads.multiply([keys, size, rows], [tileKey], [tileQuery, 'ᵀ'], probability, EXP, ofBlock(sums, tile))
            heads.clearMasked(task, probabilities, tile)
            const row = ofBlock(dots, tile)
            heads.multiply([keys, size, rows], [tileValue], [tileOut, 'ᵀ'], dScore, TIMES, row, probability)
            heads.multiply([keys, rows, size], [probability], [tileOut], heads.from(dValue, first), ADD)
            heads.multiply([keys, rows, size], [dScore], [tileQuery], heads.from(dKey, first), ADD)
            heads.multiply([rows, keys, size], [dScore, 'ᵀ'], [tileKey], heads.from(dQuery, from), starts ? {} : ADD)
          }
          heads.scatter(
            { rows: heads.rowsOf(dQkv, task, 'queries', turn), matrices: dQuery, scale, rotate: true },
            ...(turn < turns - 1
              ? []
              : [
                  { rows: heads.rowsOf(dQkv, task, 'keys'), matrices: dKey, scale: 1, rotate: true },
                  { rows: heads.rowsOf(dQkv, task, 'values'), matrices: dValue, scale: 1, rotate: false },
                ]),
          )
        }
      },
    }
  },

  work(call) {
    const shape = shapeOf(call)
    return { flops: flopsOf(shape, 5), bytes: 4 * shape.batch * shape.sequence * (2 * shape.stride + 2 * shape.width) }
  },
})

/** Bytes of `count` matrices [S, d] of each head of a task, in float32. */
const matrixBytes = (shape: Shape, count: number): number =>
  count * bytesFor(shape.headsPerTask * shape.sequence * shape.size)
