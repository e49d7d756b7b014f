/**
 * Kernels of the next tokens of a few texts. They do little arithmetic and read every active weight once, for all texts,
 * in place: in the memory of the program, or in the arena where the weights are. The threads share the columns or the
 * rows of a matrix; partial sums over rows are added up by the next kernel.
 */
import * as declared from '../../../../core/graph/kernels/token.ts'
import { implement, type KernelTensor } from '../contract.ts'
import { choicesFrom } from './chosen.ts'
import { bandsOf } from './matmul.ts'
import { addProducts, bytesBeside, bytesOfPlaces, multiplyRows, PIECE_BYTES } from './reach.ts'
import { offsetAt, widthOf } from './rows.ts'

/** Number of floats of which bands are multiples: a cache line. */
const LINE = 16

/** Number of floats below which the work is not worth a meeting of threads. */
const WORTH_SHARING = 4096

/** Bands of the columns of a row: one for each thread, or a single band if the kernel reads few floats. */
const bandsOfRow = (columns: number, floats: number, threads: number) =>
  bandsOf(columns, floats < WORTH_SHARING ? 1 : threads, LINE)

const index = (tensor: KernelTensor, element = 0): number => tensor.offset / 4 + element
const rowsOf = ({ shape }: KernelTensor): number => shape[0] as number
/** The work of a kernel that reads every weight once, for some rows. */
const workOf = ({ size }: KernelTensor, rows: number) => ({ flops: 2 * size * rows, bytes: 4 * size })

/** The rows of one of `parts` nearly equal parts. */
function partOf(rows: number, part: number, parts: number): { readonly from: number; readonly count: number } {
  const bound = (at: number) => Math.floor((rows * at) / parts)
  return { from: bound(part), count: bound(part + 1) - bound(part) }
}

/** Numbers 0, 1, ... of rows. */
const countTo = (count: number): readonly number[] => Array.from({ length: count }, (_, r) => r)

/** A task is a part of the products. */
export const rowProduct = implement(declared.rowProduct, {
  provider: 'WASM',
  anywhere: ['w'],
  scratch: ({ inputs: { x } }) => bytesOfPlaces(rowsOf(x)),
  scratchBeside: ({ inputs: { x }, outputs: { parts } }) => bytesBeside(rowsOf(x), widthOf(x), widthOf(parts)),
  prepare({ inputs: { x, w }, outputs: { parts: y } }, thread) {
    const [inner, columns] = [widthOf(x), widthOf(y)]
    const rows = countTo(rowsOf(x))
    const parts = rowsOf(y) / rows.length
    return {
      tasks: parts,
      run(part) {
        const { from, count } = partOf(inner, part, parts)
        addProducts(thread, w, offsetAt(w, from * columns), {
          x: rows.map((r) => offsetAt(x, r * inner + from)),
          y: rows.map((r) => offsetAt(y, (r * parts + part) * columns)),
          inner: count,
          columns,
        })
      },
    }
  },
  work: ({ inputs: { x, w } }) => workOf(w, rowsOf(x)),
})

export const rowProductTransposed = implement(declared.rowProductTransposed, {
  provider: 'WASM',
  anywhere: ['w'],
  scratchBeside: ({ inputs: { x }, outputs: { y } }, threads) =>
    bytesBeside(rowsOf(x), widthOf(x), Math.max(...bandsOf(widthOf(y), threads, LINE).map(({ length }) => length))),
  prepare({ inputs: { x, w }, outputs: { y } }, thread) {
    const [inner, columns] = [widthOf(x), widthOf(y)]
    const rows = countTo(rowsOf(x))
    const bands = bandsOf(columns, thread.threads, LINE)
    // A single row reads the whole band as four distant streams.
    const piece = rows.length === 1 ? columns : Math.max(4, Math.floor(PIECE_BYTES / (4 * inner)))
    return {
      tasks: bands.length,
      run(task) {
        const { from, length } = bands[task] as { from: number; length: number }
        const places = {
          x: rows.map((r) => offsetAt(x, r * inner)),
          y: rows.map((r) => offsetAt(y, r * columns + from)),
          ...{ inner, columns: length },
        }
        multiplyRows(thread, w, places, (functions, x, y) => {
          for (let first = 0; first < length; first += piece)
            for (let r = 0; r < x.length; r++) {
              const at = offsetAt(w, (from + first) * inner)
              const to = (y[r] as number) + 4 * first
              functions.rowTimesTransposed(x[r] as number, at, to, Math.min(piece, length - first), inner, inner)
            }
        })
      },
    }
  },
  work: ({ inputs: { x, w } }) => workOf(w, rowsOf(x)),
})

export const sumParts = implement(declared.sumParts, {
  provider: 'WASM',
  prepare({ inputs: { parts, weights }, outputs: { sum: y }, addends }, { floats, functions, threads }) {
    const addend = addends.sum
    const [count, columns] = [rowsOf(parts), widthOf(parts)]
    const perRow = count / rowsOf(y)
    const perGroup = count / (weights?.size ?? rowsOf(y))
    const bands = bandsOfRow(columns, parts.size, threads)
    return {
      tasks: rowsOf(y) * bands.length,
      run(task) {
        const row = Math.floor(task / bands.length)
        const { from, length } = bands[task % bands.length] as { from: number; length: number }
        const first = row * columns + from
        const to = index(y, first)
        if (!addend) floats.fill(0, to, to + length)
        else if (addend.offset !== y.offset) floats.copyWithin(to, index(addend, first), index(addend, first) + length)
        for (let part = row * perRow; part < (row + 1) * perRow; part++) {
          const weight = weights ? (floats[index(weights, Math.floor(part / perGroup))] as number) : 1
          functions.addTimes(4 * to, offsetAt(parts, part * columns + from), weight, length)
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

/**
 * A task is a part of the product with an expert's matrix: the task of the first choice of an expert computes that part
 * for all choices of the expert, and the tasks of the others do nothing.
 */
export const expertRowProduct = implement(declared.expertRowProduct, {
  provider: 'WASM',
  anywhere: ['matrices'],
  scratch: ({ inputs: { experts } }) => bytesOfPlaces(rowsOf(experts)),
  scratchBeside: ({ inputs: { rows, experts }, outputs: { parts } }) =>
    bytesBeside(rowsOf(experts), widthOf(rows), widthOf(parts)),
  prepare({ inputs: { rows: x, experts, matrices }, outputs: { parts: y } }, thread) {
    const [count = 0, inner = 0, columns = 0] = matrices.shape
    const choicesPerRow = experts.size / rowsOf(x)
    const parts = rowsOf(y) / experts.size
    return {
      tasks: experts.size * parts,
      run(task) {
        const first = Math.floor(task / parts)
        const part = task % parts
        const { from, count: rows } = partOf(inner, part, parts)
        for (const choices of choicesFrom(thread.integers, experts, first, count)) {
          const expert = thread.integers[index(experts, first)] as number
          addProducts(thread, matrices, offsetAt(matrices, (expert * inner + from) * columns), {
            x: choices.map((choice) => offsetAt(x, Math.floor(choice / choicesPerRow) * inner + from)),
            y: choices.map((choice) => offsetAt(y, (choice * parts + part) * columns)),
            inner: rows,
            columns,
          })
        }
      },
    }
  },
  // Only the matrices of the chosen experts count, as if each choice had another one.
  work({ inputs: { experts, matrices } }) {
    const active = (experts.size * matrices.size) / (matrices.shape[0] as number)
    return { flops: 2 * active, bytes: 4 * active }
  },
})
