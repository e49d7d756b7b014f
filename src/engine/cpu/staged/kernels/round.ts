/** Rounds a matrix to bfloat16 once, for products that would each round all of it. */
import type { Kernel, KernelTensor } from '../contract.ts'
import { addressAt, isHalf } from './floats.ts'
import { bandsOf } from './matmul.ts'
import { widthOf } from './rows.ts'

/** Rows of a task. */
const TASK_ROWS = 256

/** Input x [N, D]; output x [N, D]. It is offered with bf16 math only, for products whose other factors are bfloat16. */
export const round: Kernel = {
  provider: 'primitives',
  halves: { inputs: [], outputs: [0] },
  prepare({ inputs, outputs }, { primitives }) {
    const [x] = inputs as [KernelTensor]
    const [y] = outputs as [KernelTensor]
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
  work: ({ inputs: [x] }) => ({ flops: 0, bytes: 6 * (x as KernelTensor).size }),
}
