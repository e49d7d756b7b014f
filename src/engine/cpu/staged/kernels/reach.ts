/**
 * Matrices in any memory. WASM functions reach one memory, so the functions of the memory of the matrix compute, and rows
 * and their results are copied there and back: they are small beside the matrix.
 */
import { RuntimeError } from '../../../contract/runtime.ts'
import type { OpFunctions } from '../../wasm/module.ts'
import type { KernelMemory, KernelTensor, KernelThread } from '../contract.ts'

/** Floats of a cache line, to which rows in scratch memory are aligned. */
const LINE = 16
const padded = (floats: number): number => Math.ceil(floats / LINE) * LINE

/** Bytes of a matrix that stay in the L2 cache of a core while several rows are multiplied with them. */
export const PIECE_BYTES = 2 ** 17

/** The memory of an operand that may be anywhere. */
export const memoryOf = ({ memories }: KernelThread, { memory }: KernelTensor): KernelMemory =>
  memories[memory] as KernelMemory

const integerViews = new WeakMap<Float32Array, Int32Array>()

/** The same memory as integers. */
function integersOf(floats: Float32Array): Int32Array {
  const known = integerViews.get(floats)
  if (known) return known
  const view = new Int32Array(floats.buffer, floats.byteOffset, floats.length)
  integerViews.set(floats, view)
  return view
}

/** Where rows and their results are: the byte offset of each row, and of each result, and their numbers of floats. */
export interface Rows {
  readonly x: readonly number[]
  readonly y: readonly number[]
  readonly inner: number
  readonly columns: number
}

/** Bytes of scratch memory beside a matrix, for {@link multiplyRows} with `rows` rows. */
export const bytesBeside = (rows: number, inner: number, columns: number): number =>
  4 * rows * (padded(inner) + padded(columns)) + bytesOfPlaces(rows)

/** Bytes of a table with two addresses for each row. */
export const bytesOfPlaces = (rows: number): number => 4 * padded(2 * rows)

/**
 * Computes results of a matrix and rows, by functions of the memory of the matrix, which add to zeros.
 * @param product Given byte offsets in that memory.
 */
export function multiplyRows(
  thread: KernelThread,
  matrix: KernelTensor,
  rows: Rows,
  product: (functions: OpFunctions, x: readonly number[], y: readonly number[]) => void,
): void {
  const { floats } = thread
  const { inner, columns } = rows
  if (matrix.memory === 0) {
    for (const to of rows.y) floats.fill(0, to / 4, to / 4 + columns)
    product(thread.functions, rows.x, rows.y)
    return
  }
  const { functions, floats: beside, scratch } = memoryOf(thread, matrix)
  if (scratch === null) throw new RuntimeError('internal: no scratch memory beside a matrix')
  const first = scratch + bytesOfPlaces(rows.x.length)
  const each = 4 * (padded(inner) + padded(columns))
  const x = rows.x.map((_, r) => first + r * each)
  const y = x.map((offset) => offset + 4 * padded(inner))
  for (let r = 0; r < x.length; r++) {
    const [from, to] = [(rows.x[r] as number) / 4, x[r] as number]
    beside.set(floats.subarray(from, from + inner), to / 4)
    beside.fill(0, to / 4 + padded(inner), to / 4 + padded(inner) + columns)
  }
  product(functions, x, y)
  for (let r = 0; r < y.length; r++) {
    const from = (y[r] as number) / 4
    floats.set(beside.subarray(from, from + columns), (rows.y[r] as number) / 4)
  }
}

/**
 * Adds x·w to the results of rows, for a matrix w [inner, columns] at a byte offset in the memory of its tensor. The table
 * of their places is at the start of the scratch memory: {@link bytesOfPlaces} bytes.
 */
export function addProducts(thread: KernelThread, matrix: KernelTensor, w: number, rows: Rows): void {
  multiplyRows(thread, matrix, rows, (functions, x, y) => {
    const isOwn = matrix.memory === 0
    const memory = memoryOf(thread, matrix)
    const places = isOwn ? thread.integers : integersOf(memory.floats)
    const scratch = isOwn ? thread.scratch.offset : (memory.scratch as number)
    for (let r = 0; r < x.length; r++) {
      places[scratch / 4 + 2 * r] = x[r] as number
      places[scratch / 4 + 2 * r + 1] = y[r] as number
    }
    functions.rowsTimes(scratch, x.length, w, rows.inner, rows.columns)
  })
}
