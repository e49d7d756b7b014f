/**
 * The rows of each expert times its matrix: the experts of attention's projections. As in `expert-ffn.ts`, a
 * task is a group of rows, and nothing is computed for empty slots.
 */
import type { Kernel, KernelTensor } from '../../contract.ts'
import { addressAt, isHalf, rowsOf } from '../floats.ts'
import {
  accumulate,
  GroupRows,
  groupsOf,
  type MatrixGradient,
  PIECE,
  sizesOf,
  WeightGradients,
} from './expert-shared.ts'

/** Sizes of weights [N, D, X]. */
const extent = ({ shape: [experts = 0, width = 0, columns = 0] }: KernelTensor) => ({ experts, width, columns })

/** Inputs rows [R, D], sizes [groups + 1], weights [N, D, X]; output y [R, X]. */
export const expertLinear: Kernel = {
  provider: 'primitives',
  halves: { inputs: [0], outputs: [0] },
  prepare(call, thread) {
    const [x, sizeTensor, weights] = call.inputs as [KernelTensor, KernelTensor, KernelTensor]
    const [y] = call.outputs as [KernelTensor]
    const { experts, width, columns } = extent(weights)
    const groupRows = new GroupRows(sizesOf(sizeTensor, thread), experts)
    const { groups, sources } = groupsOf(sizeTensor, experts)
    return {
      tasks: groups,
      run(task) {
        const { expert, part: source } = groupRows.byLoad(sources, task)
        for (const { from, rows } of groupRows.pieces(source * experts + expert))
          thread.primitives
            .product({
              m: rows,
              k: width,
              n: columns,
              a: rowsOf(x, width),
              b: { stride: columns },
              c: columns,
              half: isHalf(y),
            })
            .run(addressAt(x, from * width), addressAt(weights, expert * width * columns), addressAt(y, from * columns))
      },
    }
  },

  work(call) {
    const [x, , weights] = call.inputs as [KernelTensor, KernelTensor, KernelTensor]
    const { width, columns } = extent(weights)
    const rows = x.shape[0] as number
    return { flops: 2 * rows * width * columns, bytes: 4 * (weights.size + rows * (width + columns)) }
  },
}

/** Bytes of a prepared gradient, and of a row of zeros; a whole number of cache lines. */
const factorBytes = (width: number, columns: number): number => 64 * Math.ceil(Math.max(width, PIECE * columns) / 16)

/**
 * Inputs dy [R, X], rows, sizes, weights; outputs gradients of rows and of weights, the latter [N, parts, D, X] if there
 * are several parts. A group without rows has a gradient of zero.
 */
export const expertLinearGradient: Kernel = {
  provider: 'primitives',
  halves: { inputs: [0, 1], outputs: [0] },
  scratch(call) {
    const { width, columns } = extent(call.inputs[3] as KernelTensor)
    return factorBytes(width, columns) + WeightGradients.scratch(call, width * columns)
  },

  prepare(call, thread) {
    const [dy, x, sizeTensor, weights] = call.inputs as [KernelTensor, KernelTensor, KernelTensor, KernelTensor]
    const [dx, dWeights] = call.outputs as [KernelTensor, KernelTensor]
    const { experts, width, columns } = extent(weights)
    const { primitives, scratch } = thread
    const addend = call.added.length > 0 ? call.inputs.at(-1) : undefined
    const ofWeights = { target: dWeights, addend, m: width, n: columns }
    const sums = scratch.address + factorBytes(width, columns)
    const gradients = new WeightGradients(call, thread, sizeTensor, experts, [ofWeights], sums)
    return {
      tasks: gradients.tasks,
      run(task) {
        gradients.run(task, (expert, piece, [ofMatrix]) => {
          const { from, rows } = piece
          // Both products use it as a factor, so it is rounded once.
          const dOut = addressAt(dy, from * columns)
          const gradient = isHalf(dy) ? dOut : primitives.prepare(dOut, scratch.address, rows, columns)
          accumulate(primitives, ofMatrix as MatrixGradient, piece, addressAt(x, from * width), gradient, isHalf(x))
          primitives
            .product({
              m: rows,
              k: columns,
              n: width,
              a: { stride: columns, prepared: true },
              b: { stride: columns, transposed: true },
              c: width,
              half: isHalf(dx),
            })
            .run(gradient, addressAt(weights, expert * width * columns), addressAt(dx, from * width))
        })
      },
    }
  },

  work(call) {
    const [, x, , weights] = call.inputs as [KernelTensor, KernelTensor, KernelTensor, KernelTensor]
    const { width, columns } = extent(weights)
    const rows = x.shape[0] as number
    return { flops: 4 * rows * width * columns, bytes: 4 * (2 * weights.size + rows * (2 * width + columns)) }
  },
}
