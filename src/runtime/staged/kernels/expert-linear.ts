/**
 * The rows of each expert times its matrix: the experts of attention's projections. As in `expert-ffn.ts`, a
 * task is a group of rows, and nothing is computed for empty slots.
 */
import type { Kernel, KernelTensor } from '../contract.ts'
import { accumulate, at, byLoad, groupsOf, PIECE, pieces, sizesOf, writeZeros } from './expert-shared.ts'

/** Sizes of weights [N, D, X]. */
const extent = ({ shape: [experts = 0, width = 0, columns = 0] }: KernelTensor) => ({ experts, width, columns })

/** Inputs rows [R, D], sizes [groups + 1], weights [N, D, X]; output y [R, X]. */
export const expertLinear: Kernel = {
  provider: 'oneDNN',
  prepare(call, thread) {
    const [x, sizeTensor, weights] = call.inputs as [KernelTensor, KernelTensor, KernelTensor]
    const [y] = call.outputs as [KernelTensor]
    const { experts, width, columns } = extent(weights)
    const sizes = sizesOf(sizeTensor, thread)
    const { groups, expertOf } = groupsOf(sizeTensor, experts)
    return {
      tasks: groups,
      run(task) {
        const group = byLoad(sizes, groups)[task] as number
        const expert = expertOf(group)
        for (const { from, rows } of pieces(sizes, group))
          thread.dnnl
            .product({ m: rows, k: width, n: columns, a: { stride: width }, b: { stride: columns }, c: columns })
            .run(at(x, from * width), at(weights, expert * width * columns), at(y, from * columns))
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

/**
 * Inputs dy [R, X], rows, sizes, weights; outputs gradients of rows and of weights, the latter by source if there are
 * several. A group without rows has a gradient of zero.
 */
export const expertLinearGradient: Kernel = {
  provider: 'oneDNN',
  scratch(call) {
    const { width, columns } = extent(call.inputs[3] as KernelTensor)
    return 4 * Math.max(width, PIECE * columns)
  },

  prepare(call, thread) {
    const [dy, x, sizeTensor, weights] = call.inputs as [KernelTensor, KernelTensor, KernelTensor, KernelTensor]
    const [dx, dWeights] = call.outputs as [KernelTensor, KernelTensor]
    const { experts, width, columns } = extent(weights)
    const { dnnl, scratch } = thread
    const sizes = sizesOf(sizeTensor, thread)
    const addend = call.added.length > 0 ? call.inputs.at(-1) : undefined
    const gradientOfWeights = { target: dWeights, addend, m: width, n: columns }
    const { groups, expertOf, gradientOf } = groupsOf(sizeTensor, experts)
    return {
      tasks: groups,
      run(task) {
        const group = byLoad(sizes, groups)[task] as number
        const [matrix, part] = [expertOf(group), gradientOf(group)].map((index) => index * width * columns) as [
          number,
          number,
        ]
        const all = pieces(sizes, group)
        if (all.length === 0) writeZeros(thread, [gradientOfWeights], part)
        for (const piece of all) {
          const { from, rows } = piece
          // Both products use it as a factor, so it is rounded once.
          const gradient = dnnl.prepare(at(dy, from * columns), scratch.address, rows, columns)
          accumulate(dnnl, gradientOfWeights, part, piece, at(x, from * width), gradient)
          dnnl
            .product({
              m: rows,
              k: columns,
              n: width,
              a: { stride: columns, prepared: true },
              b: { stride: columns, transposed: true },
              c: width,
            })
            .run(gradient, at(weights, matrix), at(dx, from * width))
        }
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
