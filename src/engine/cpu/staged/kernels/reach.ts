/**
 * Matrices in any memory. WASM functions reach one memory, so the functions of the memory of the matrix compute, and a
 * row and its results are copied there and back: they are small beside the matrix.
 */
import { RuntimeError } from '../../../contract/runtime.ts'
import type { OpFunctions } from '../../wasm/module.ts'
import type { KernelMemory, KernelTensor, KernelThread } from '../contract.ts'

/** Floats of a cache line, to which rows in scratch memory are aligned. */
const LINE = 16
const padded = (floats: number): number => Math.ceil(floats / LINE) * LINE

/** The memory of an operand that may be anywhere. */
export const memoryOf = ({ memories }: KernelThread, { memory }: KernelTensor): KernelMemory =>
  memories[memory] as KernelMemory

/** Bytes of scratch memory beside a matrix, for {@link multiplyRow}. */
export const bytesBeside = (inner: number, columns: number): number => 4 * (padded(inner) + padded(columns))

export interface Row {
  /** Byte offset in the memory of the program. */
  readonly offset: number
  readonly count: number
}

/**
 * Computes a row of results of a matrix and a row x, by functions of the memory of the matrix, which add to zeros.
 * @param product Given byte offsets of x and of the results in that memory.
 */
export function multiplyRow(
  thread: KernelThread,
  matrix: KernelTensor,
  x: Row,
  y: Row,
  product: (functions: OpFunctions, x: number, y: number) => void,
): void {
  const { floats } = thread
  const [from, to] = [x.offset / 4, y.offset / 4]
  if (matrix.memory === 0) {
    floats.fill(0, to, to + y.count)
    product(thread.functions, x.offset, y.offset)
    return
  }
  const { functions, floats: beside, scratch } = memoryOf(thread, matrix)
  if (scratch === null) throw new RuntimeError('internal: no scratch memory beside a matrix')
  const results = scratch / 4 + padded(x.count)
  beside.set(floats.subarray(from, from + x.count), scratch / 4)
  beside.fill(0, results, results + y.count)
  product(functions, scratch, 4 * results)
  floats.set(beside.subarray(results, results + y.count), to)
}
