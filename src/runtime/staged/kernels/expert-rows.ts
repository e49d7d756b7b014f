/** The rows of each expert, as kernels of experts see them: sizes int64 [N + 1], known when they run. */
import type { KernelTensor, KernelThread } from '../contract.ts'

/** Rows worked through at a time. */
export const PIECE = 512

export interface Piece {
  /** The expert's first row, and whether this piece holds it. */
  readonly from: number
  readonly rows: number
  readonly first: boolean
}

/** Rows of expert e. */
export function pieces(sizes: BigInt64Array, expert: number): Piece[] {
  let start = 0
  for (let e = 0; e < expert; e++) start += Number(sizes[e])
  const rows = Number(sizes[expert])
  const count = Math.ceil(rows / PIECE)
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [Math.floor((rows * i) / count), Math.floor((rows * (i + 1)) / count)]
    return { from: start + from, rows: to - from, first: i === 0 }
  })
}

/** The experts with most rows first: what is left for the end is small, and no thread waits long. */
export const byLoad = (sizes: BigInt64Array, experts: number): number[] =>
  Array.from({ length: experts }, (_, e) => e).sort((a, b) => Number(sizes[b]) - Number(sizes[a]) || a - b)

export const sizesOf = (tensor: KernelTensor, { floats }: KernelThread): BigInt64Array =>
  new BigInt64Array(floats.buffer, tensor.offset, tensor.size)

/** Where the float `start` of a tensor lies in this process. */
export const at = (tensor: KernelTensor, start: number): number => tensor.address + 4 * start
