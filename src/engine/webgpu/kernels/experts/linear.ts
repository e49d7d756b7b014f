/** The rows of each expert times its matrix. */
import type { Kernel, KernelCall, Operand } from '../../contract.ts'
import { bytesOf } from '../vectors.ts'
import { checkSizes, expertTiles, lowerEmpty, operandsOf, outputOf } from './call.ts'
import { planRows, Scratch } from './plan.ts'
import { rowGradient, rowProduct } from './products.ts'

/** Sizes of a call: rows [R, D], matrices [N, D, X]. @param first Index of the rows among inputs. */
function extent({ inputs }: KernelCall, first: number) {
  const [rows, sizes, matrices] = inputs.slice(first) as [Operand, Operand, Operand]
  const [experts = 0, width = 0, columns = 0] = matrices.shape
  checkSizes(sizes, experts)
  return { rows: rows.shape[0] as number, experts, width, columns, matrices }
}

/** Inputs rows [R, D], sizes [N + 1], matrices [N, D, X]; output [R, X]. Rows of unused slots are not written. */
export const expertLinear: Kernel = {
  lower(call) {
    const { rows, experts, width, columns, matrices } = extent(call, 0)
    if (rows * matrices.size === 0) return lowerEmpty(call)
    const { input } = operandsOf(call)
    const { rounds } = call
    const scratch = new Scratch()
    const { rows: tile } = expertTiles(rows, matrices.shape)
    const plan = planRows({ sizes: { input: 1 }, rows, experts, tile }, [columns], scratch)
    const product = rowProduct({
      name: 'rows of experts',
      plan,
      rows: input(0),
      matrices: input(2),
      inner: width,
      columns,
      rounds,
      output: outputOf(call, 0),
    })
    return { scratch: scratch.all, dispatches: [plan.dispatch, product] }
  },

  // Counts unused rows too, because their number is known only on the device.
  work(call) {
    const { rows, width, columns, matrices } = extent(call, 0)
    const { inputs, outputs } = call
    return { flops: 2 * rows * width * columns, bytes: bytesOf(inputs[0], matrices, outputs[0]) }
  },

  halves: { inputs: 'all', outputs: [0] },
}

/** Inputs dy [R, X], rows, sizes, matrices; outputs gradients of rows and of matrices. */
export const expertLinearGradient: Kernel = {
  lower(call) {
    const { rows, experts, width, columns, matrices } = extent(call, 1)
    if (rows * matrices.size === 0) return lowerEmpty(call)
    const { input } = operandsOf(call)
    const { rounds } = call
    const scratch = new Scratch()
    const { rows: tile, gradient } = expertTiles(rows, matrices.shape)
    const plan = planRows({ sizes: { input: 2 }, rows, experts, tile }, [width], scratch)
    return {
      scratch: scratch.all,
      dispatches: [
        plan.dispatch,
        rowProduct({
          name: 'gradient of rows of experts',
          plan,
          rows: input(0),
          matrices: input(3),
          transposed: true,
          inner: columns,
          columns: width,
          rounds,
          output: outputOf(call, 0),
        }),
        rowGradient({
          name: 'gradient of matrices of experts',
          plan,
          tile: gradient,
          left: input(1),
          right: input(0),
          rounds,
          output: outputOf(call, 1),
        }),
      ],
    }
  },

  work(call) {
    const { rows, width, columns } = extent(call, 1)
    const { inputs, outputs } = call
    return { flops: 4 * rows * width * columns, bytes: bytesOf(...inputs, ...outputs) }
  },

  halves: { inputs: 'all', outputs: [0, 1] },
  // The gradient of the matrices.
  scales: [1],
}
