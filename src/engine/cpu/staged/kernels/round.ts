/** Rounds a matrix to bfloat16 once, for products that would each round all of it. */
import * as declared from '../../../../core/graph/kernels/products.ts'
import { implement } from '../contract.ts'
import { addressAt, isHalf } from './floats.ts'
import { bandsOf } from './matmul.ts'
import { widthOf } from './rows.ts'

/** Number of rows of a task, at most. */
const TASK_ROWS = 256

/** The kernel exists with bf16 math only, for products whose other factors are bfloat16. */
export const round = implement(declared.round, {
  provider: 'primitives',
  halves: { inputs: [], outputs: ['y'] },
  prepare({ inputs: { x }, outputs: { y } }, { primitives }) {
    const width = widthOf(x)
    const rows = x.size / width
    const bands = bandsOf(rows, Math.ceil(rows / TASK_ROWS), 1)
    if (!isHalf(y)) throw new Error('internal: a matrix is rounded that something reads in float32')
    return {
      tasks: bands.length,
      run(task) {
        const { from, length } = bands[task] as { from: number; length: number }
        primitives.round(length, width, width).run(addressAt(x, from * width), addressAt(y, from * width))
      },
    }
  },
  work: ({ inputs: { x } }) => ({ flops: 0, bytes: 6 * x.size }),
})
