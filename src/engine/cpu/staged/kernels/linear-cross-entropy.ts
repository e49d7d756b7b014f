/**
 * Cross-entropy of a linear head, and its gradient. A block of logits stays in the cache of a core from their product
 * to their softmax. Logits become their gradient in place, in the memory of the result; if the result is bfloat16, this
 * happens in the scratch memory of the thread, and the gradient is then rounded to the result.
 *
 * −log p[target] = max − log p[argmax] − logit[target], which stays exact if p[target] underflows.
 */
import * as declared from '../../../../core/graph/kernels/products.ts'
import { RuntimeError } from '../../../contract/runtime.ts'
import { implement } from '../contract.ts'
import { addressAt, elementBytes, isHalf, rowsOf } from './floats.ts'
import { bandsOf } from './matmul.ts'

/** Number of logits in a block, 4 MiB, unless that is fewer than {@link MIN_ROWS} rows. */
const BLOCK_FLOATS = 2 ** 20
/** Least number of rows in a block: with fewer rows, a product spends its time on packing the head. */
const MIN_ROWS = 64
/** Least number of tasks, so that threads share a small batch. */
const MIN_TASKS = 8

/** Number of rows of a task, at most. It does not depend on the number of threads. */
const taskRows = (rows: number, columns: number): number =>
  Math.max(1, Math.min(Math.ceil(rows / MIN_TASKS), Math.max(MIN_ROWS, Math.floor(BLOCK_FLOATS / columns))))

/** Bytes of `count` numbers of 4 bytes, in whole cache lines. */
const lines = (count: number): number => 64 * Math.ceil(count / 16)

export const linearCrossEntropy = implement(declared.linearCrossEntropy, {
  provider: 'primitives',
  halves: { inputs: ['x', 'head'], outputs: ['dLogits'] },
  scratch({ outputs: { dLogits } }) {
    const [total = 0, columns = 0] = dLogits.shape
    const rows = taskRows(total, columns)
    return 2 * lines(rows) + (isHalf(dLogits) ? 4 * rows * columns : 0)
  },

  prepare(
    { inputs: { x, head, targets }, outputs: { dLogits: gradient, nats, greedy } },
    { primitives, functions, floats, integers, scratch },
  ) {
    const [total = 0, columns = 0] = gradient.shape
    const width = x.shape.at(-1) as number
    const bands = bandsOf(total, Math.ceil(total / taskRows(total, columns)), 1)
    const maxima = scratch.offset
    const argmaxima = maxima + lines(taskRows(total, columns))
    const half = isHalf(gradient)
    const skip = argmaxima + lines(taskRows(total, columns)) - scratch.offset
    const targetOf = (row: number) => integers[targets.offset / 4 + row] as number
    const b = { ...rowsOf(head, width), transposed: true }

    return {
      tasks: bands.length,
      run(task) {
        const { from, length: rows } = bands[task] as { from: number; length: number }
        const result = addressAt(gradient, from * columns)
        const logits = half
          ? { offset: scratch.offset + skip, address: scratch.address + skip }
          : { offset: gradient.offset + 4 * from * columns, address: result }
        /** Index of a logit, or of its probability, in `floats`. */
        const index = (row: number, column: number) => logits.offset / 4 + row * columns + column
        primitives
          .product({ m: rows, k: width, n: columns, a: rowsOf(x, width), b, c: columns })
          .run(addressAt(x, from * width), addressAt(head, 0), logits.address)
        functions.rowLargest(logits.offset, rows, columns, maxima, argmaxima)
        const targetLogits = new Float32Array(rows)
        for (let r = 0; r < rows; r++) {
          const target = targetOf(from + r)
          if (target >= columns)
            throw new RuntimeError(
              `invalid target: ${target} (expected less than ${columns}, the size of the vocabulary)`,
            )
          if (target >= 0) targetLogits[r] = floats[index(r, target)] as number
        }
        primitives.softmax(rows, columns).run(logits.address, logits.address)
        for (let r = 0; r < rows; r++) {
          const target = targetOf(from + r)
          const p = floats[index(r, integers[argmaxima / 4 + r] as number)] as number
          // The same logit, so equal logits are equal here too.
          const isLargest = targetLogits[r] === floats[maxima / 4 + r]
          integers[greedy.offset / 4 + from + r] = target >= 0 && isLargest ? 1 : 0
          floats[nats.offset / 4 + from + r] =
            target < 0 ? 0 : (floats[maxima / 4 + r] as number) - Math.log(p) - (targetLogits[r] as number)
          if (target >= 0) floats[index(r, target)] = (floats[index(r, target)] as number) - 1
        }
        if (half) primitives.round(rows, columns, columns).run(logits.address, result)
      },
    }
  },

  work({ inputs: { x, head }, outputs: { dLogits } }) {
    const width = x.shape.at(-1) as number
    return {
      flops: (2 * width + 4) * dLogits.size,
      bytes: [x, head, dLogits].reduce((total, tensor) => total + elementBytes(tensor) * tensor.size, 0),
    }
  },
})
