/**
 * Shared by the kernels of experts: the rows of each group, from sizes int64 [groups + 1], and gradients of weights. A
 * *group* is the rows of an expert, or those from one source rank: with n experts on this rank and E source ranks,
 * group s·n + e. Rows of different sources are never multiplied together, so that their products have the bits of one
 * process, and each source has its own gradient of the weights.
 */
import type { Dnnl } from '../../onednn/dnnl.ts'
import type { KernelTensor, KernelThread } from '../contract.ts'

/** Most rows in a piece. */
export const PIECE = 512

export interface Piece {
  readonly from: number
  readonly rows: number
  /** Whether this is the first piece of the group. */
  readonly first: boolean
}

/** The rows of a group, in pieces. */
export function pieces(sizes: BigInt64Array, group: number): Piece[] {
  let start = 0
  for (let g = 0; g < group; g++) start += Number(sizes[g])
  const rows = Number(sizes[group])
  const count = Math.ceil(rows / PIECE)
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [Math.floor((rows * i) / count), Math.floor((rows * (i + 1)) / count)]
    return { from: start + from, rows: to - from, first: i === 0 }
  })
}

/** Groups with the most rows first, so that the last tasks are small and no thread waits long. */
export const byLoad = (sizes: BigInt64Array, groups: number): number[] =>
  Array.from({ length: groups }, (_, g) => g).sort((a, b) => Number(sizes[b]) - Number(sizes[a]) || a - b)

/** The number of groups, and the matrices of one among those of n experts: its weights, and its gradient [n, E]. */
export function groupsOf(sizes: KernelTensor, experts: number) {
  const groups = sizes.size - 1
  const sources = groups / experts
  return {
    groups,
    expertOf: (group: number) => group % experts,
    gradientOf: (group: number) => (group % experts) * sources + Math.floor(group / experts),
  }
}

export const sizesOf = (tensor: KernelTensor, { floats }: KernelThread): BigInt64Array =>
  new BigInt64Array(floats.buffer, tensor.offset, tensor.size)

/** Address of the float `start` of a tensor. */
export const at = (tensor: KernelTensor, start: number): number => tensor.address + 4 * start

/** The gradient of the matrices [m, n] of all experts. */
export interface WeightGradient {
  readonly target: KernelTensor
  readonly addend: KernelTensor | undefined
  readonly m: number
  readonly n: number
}

/**
 * Adds leftᵀ · right to the matrix at element `matrix`, with left [rows, m] and right [rows, n], prepared. The first
 * piece of an expert starts from the addend, or from zero.
 */
export function accumulate(
  dnnl: Dnnl,
  { target, addend, m, n }: WeightGradient,
  matrix: number,
  { rows, first }: Omit<Piece, 'from'>,
  left: number,
  right: number,
): void {
  const start = first ? addend : undefined
  const inPlace = !first || start?.address === target.address
  dnnl
    .product({
      m,
      k: rows,
      n,
      a: { stride: m, transposed: true },
      b: { stride: n, prepared: true },
      c: n,
      ...(inPlace ? { plus: 'c' as const } : start && { plus: n }),
    })
    .run(left, right, at(target, matrix), ...(start && !inPlace ? [at(start, matrix)] : []))
}

/** Gradients of an expert without rows: zero plus the addend, as a product with a row of zeros. */
export function writeZeros(
  { dnnl, floats, scratch }: KernelThread,
  gradients: readonly WeightGradient[],
  matrix: number,
): void {
  const zeros = scratch.offset / 4
  for (const gradient of gradients) {
    floats.fill(0, zeros, zeros + Math.max(gradient.m, gradient.n))
    accumulate(dnnl, gradient, matrix, { rows: 1, first: true }, scratch.address, scratch.address)
  }
}
