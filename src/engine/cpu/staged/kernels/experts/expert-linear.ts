/**
 * The product of each expert's rows with its matrix, for experts of attention's projections. As in `expert-ffn.ts`,
 * a task is a group of rows, and nothing is computed for empty slots.
 */
import * as declared from '../../../../../core/graph/kernels/experts.ts'
import { implement, type KernelTensor } from '../../contract.ts'
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

export const expertLinear = implement(declared.expertLinear, {
  provider: 'primitives',
  halves: { inputs: ['rows'], outputs: ['y'] },
  prepare({ inputs: { rows: x, sizes, weights }, outputs: { y } }, thread) {
    const { experts, width, columns } = extent(weights)
    const groupRows = new GroupRows(sizesOf(sizes, thread), experts)
    const { groups, sources } = groupsOf(sizes, experts)
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

  work({ inputs: { rows: x, weights } }) {
    const { width, columns } = extent(weights)
    const rows = x.shape[0] as number
    return { flops: 2 * rows * width * columns, bytes: 4 * (weights.size + rows * (width + columns)) }
  },
})

/** Bytes for a prepared gradient or a row of zeros, in whole cache lines. */
const factorBytes = (width: number, columns: number): number => 64 * Math.ceil(Math.max(width, PIECE * columns) / 16)

export const expertLinearGradient = implement(declared.expertLinearGradient, {
  provider: 'primitives',
  halves: { inputs: ['dy', 'rows'], outputs: ['dRows'] },
  scratch({ inputs: { weights }, attributes }) {
    const { width, columns } = extent(weights)
    return factorBytes(width, columns) + WeightGradients.scratch(attributes, width * columns)
  },

  prepare(call, thread) {
    const { dy, rows: x, sizes, weights } = call.inputs
    const { dRows: dx, dWeights } = call.outputs
    const { experts, width, columns } = extent(weights)
    const { primitives, scratch } = thread
    const ofWeights = { target: dWeights, addend: call.addends.dWeights, m: width, n: columns }
    const waiting = scratch.address + factorBytes(width, columns)
    const gradients = new WeightGradients(call.attributes, thread, { sizes, experts }, [ofWeights], waiting)
    return {
      tasks: gradients.tasks,
      run(task) {
        gradients.run(task, (expert, piece, [ofMatrix]) => {
          const { from, rows } = piece
          // Both products use the gradient as a factor, so it is rounded once.
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

  work({ inputs: { rows: x, weights } }) {
    const { width, columns } = extent(weights)
    const rows = x.shape[0] as number
    return { flops: 4 * rows * width * columns, bytes: 4 * (2 * weights.size + rows * (2 * width + columns)) }
  },
})
