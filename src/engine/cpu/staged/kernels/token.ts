/**
 * Kernels of a single token. They do little arithmetic and read every active weight once, in place: in the memory of the
 * program, or in the arena where the weights are. The threads share the columns or the rows of a matrix; partial sums
 * over rows are added up by the next kernel.
 */
import * as declared from '../../../../core/graph/kernels/token.ts'
import { RuntimeError } from '../../../contract/runtime.ts'
import { implement, type KernelTensor } from '../contract.ts'
import { bandsOf } from './matmul.ts'
import { bytesBeside, multiplyRow } from './reach.ts'
import { offsetAt, widthOf } from './rows.ts'

/** Number of floats of which bands are multiples: a cache line. */
const LINE = 16

/** Number of floats below which the work is not worth a meeting of threads. */
const WORTH_SHARING = 4096

/** Bands of the columns of a row: one for each thread, or a single band if the kernel reads few floats. */
const bandsOfRow = (columns: number, floats: number, threads: number) =>
  bandsOf(columns, floats < WORTH_SHARING ? 1 : threads, LINE)

const index = (tensor: KernelTensor, element = 0): number => tensor.offset / 4 + element
/** The work of a kernel that reads every weight once. */
const workOf = ({ size }: KernelTensor) => ({ flops: 2 * size, bytes: 4 * size })

/** The rows of one of `parts` nearly equal parts. */
function partOf(rows: number, part: number, parts: number): { readonly from: number; readonly count: number } {
  const bound = (at: number) => Math.floor((rows * at) / parts)
  return { from: bound(part), count: bound(part + 1) - bound(part) }
}

/** A task is a part of the product. */
export const rowProduct = implement(declared.rowProduct, {
  provider: 'WASM',
  anywhere: ['w'],
  scratchBeside: ({ inputs: { x }, outputs: { parts } }) => bytesBeside(x.size, widthOf(parts)),
  prepare({ inputs: { x, w }, outputs: { parts: y } }, thread) {
    const [parts = 1, columns = 1] = y.shape
    return {
      tasks: parts,
      run(part) {
        const { from, count } = partOf(x.size, part, parts)
        const row = { offset: offsetAt(x, from), count }
        const results = { offset: offsetAt(y, part * columns), count: columns }
        multiplyRow(thread, w, row, results, (functions, x, y) =>
          functions.rowTimes(x, offsetAt(w, from * columns), y, count, columns, columns),
        )
      },
    }
  },
  work: ({ inputs: { w } }) => workOf(w),
})

export const rowProductTransposed = implement(declared.rowProductTransposed, {
  provider: 'WASM',
  anywhere: ['w'],
  scratchBeside: ({ inputs: { x }, outputs: { y } }, threads) =>
    bytesBeside(x.size, Math.max(...bandsOf(y.size, threads, LINE).map(({ length }) => length))),
  prepare({ inputs: { x, w }, outputs: { y } }, thread) {
    const bands = bandsOf(y.size, thread.threads, LINE)
    const row = { offset: offsetAt(x), count: x.size }
    return {
      tasks: bands.length,
      run(task) {
        const { from, length } = bands[task] as { from: number; length: number }
        multiplyRow(thread, w, row, { offset: offsetAt(y, from), count: length }, (functions, x, y) =>
          functions.rowTimesTransposed(x, offsetAt(w, from * row.count), y, length, row.count, row.count),
        )
      },
    }
  },
  work: ({ inputs: { w } }) => workOf(w),
})

export const sumParts = implement(declared.sumParts, {
  provider: 'WASM',
  prepare({ inputs: { parts, weights }, outputs: { sum: y }, addends }, { floats, functions, threads }) {
    const addend = addends.sum
    const [rows = 1, columns = 1] = parts.shape
    const perGroup = rows / (weights?.size ?? 1)
    const bands = bandsOfRow(columns, parts.size, threads)
    return {
      tasks: bands.length,
      run(task) {
        const { from, length } = bands[task] as { from: number; length: number }
        const to = index(y, from)
        if (!addend) floats.fill(0, to, to + length)
        else if (addend.offset !== y.offset) floats.copyWithin(to, index(addend, from), index(addend, from) + length)
        for (let r = 0; r < rows; r++) {
          const weight = weights ? (floats[index(weights, Math.floor(r / perGroup))] as number) : 1
          functions.addTimes(4 * to, offsetAt(parts, r * columns + from), weight, length)
        }
      },
    }
  },
})

export const activateParts = implement(declared.activateParts, {
  provider: 'WASM',
  prepare({ inputs: { up: parts, gate: gates }, outputs: { active: y } }, { functions, threads }) {
    const [groups = 1, columns = 1] = y.shape
    const perGroup = (parts.shape[0] as number) / groups
    const bands = bandsOfRow(columns, parts.size, threads)
    return {
      tasks: groups * bands.length,
      run(task) {
        const group = Math.floor(task / bands.length)
        const { from, length } = bands[task % bands.length] as { from: number; length: number }
        const [first, to] = [group * perGroup * columns + from, offsetAt(y, group * columns + from)]
        if (gates) functions.swishParts(offsetAt(parts, first), offsetAt(gates, first), to, perGroup, length, columns)
        else functions.geluParts(offsetAt(parts, first), to, perGroup, length, columns)
      },
    }
  },
})

/** A task is a part of the product with an expert's matrix. */
export const expertRowProduct = implement(declared.expertRowProduct, {
  provider: 'WASM',
  anywhere: ['matrices'],
  scratchBeside: ({ inputs: { rows }, outputs: { parts } }) => bytesBeside(widthOf(rows), widthOf(parts)),
  prepare({ inputs: { rows: x, experts, matrices }, outputs: { parts: y } }, thread) {
    const [count = 0, inner = 0, columns = 0] = matrices.shape
    const rowPerChoice = (x.shape[0] as number) > 1
    const parts = (y.shape[0] as number) / experts.size
    return {
      tasks: experts.size * parts,
      run(task) {
        const choice = Math.floor(task / parts)
        const expert = thread.integers[index(experts, choice)] as number
        if (!(expert >= 0 && expert < count))
          throw new RuntimeError(`invalid expert: ${expert} (expected one of the ${count} of the layer)`)
        const { from, count: rows } = partOf(inner, task % parts, parts)
        const row = { offset: offsetAt(x, (rowPerChoice ? choice * inner : 0) + from), count: rows }
        const matrix = offsetAt(matrices, (expert * inner + from) * columns)
        const results = { offset: offsetAt(y, task * columns), count: columns }
        multiplyRow(thread, matrices, row, results, (functions, x, y) =>
          functions.rowTimes(x, matrix, y, rows, columns, columns),
        )
      },
    }
  },
  // Only the matrices of the chosen experts count.
  work({ inputs: { experts, matrices } }) {
    const active = (experts.size * matrices.size) / (matrices.shape[0] as number)
    return { flops: 2 * active, bytes: 4 * active }
  },
})
