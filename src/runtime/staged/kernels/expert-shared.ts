/**
 * Shared by the kernels of experts: the rows of each group, from sizes int64 [groups + 1], and gradients of weights. A
 * *group* is the rows of an expert, or those from one source rank: with n experts on this rank and E source ranks,
 * group s·n + e. Rows of different sources are never multiplied together, so that their products have the bits of one
 * process; gradients of weights are added in the order of the tree (`src/graph/tree.ts`), while they are in the cache.
 */
import { counterStep, counterSums } from '../../../graph/tree.ts'
import type { Dnnl } from '../../onednn/dnnl.ts'
import type { KernelCall, KernelTensor, KernelThread } from '../contract.ts'
import { at } from './floats.ts'

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

/** The groups of n experts, E for each. */
export function groupsOf(sizes: KernelTensor, experts: number) {
  const groups = sizes.size - 1
  return { groups, sources: groups / experts }
}

/**
 * The expert and the part of a task, if each expert has as many parts. Experts with the most rows come first, so that
 * the last tasks are small and no thread waits long. The parts of an expert follow each other, and share its weights in
 * the cache.
 */
export function byLoad(sizes: BigInt64Array, experts: number, parts: number, task: number) {
  const rows = new Array<number>(experts).fill(0)
  for (let g = 0; g < sizes.length - 1; g++) rows[g % experts] = (rows[g % experts] as number) + Number(sizes[g])
  const order = Array.from(rows, (_, e) => e).sort((a, b) => (rows[b] as number) - (rows[a] as number) || a - b)
  return { expert: order[Math.floor(task / parts)] as number, part: task % parts }
}

export const sizesOf = (tensor: KernelTensor, { floats }: KernelThread): BigInt64Array =>
  new BigInt64Array(floats.buffer, tensor.offset, tensor.size)

/** The gradient [m, n] of a matrix, by addresses. */
export interface MatrixGradient {
  readonly to: number
  readonly addend: number | undefined
  readonly m: number
  readonly n: number
}

/** The gradients of the matrices [m, n] of all experts: [n, parts, m, n]. */
export interface WeightGradient {
  readonly target: KernelTensor
  readonly addend: KernelTensor | undefined
  readonly m: number
  readonly n: number
}

/**
 * Adds leftᵀ · right to a gradient, with left [rows, m] and right [rows, n], which is prepared. The first piece of a
 * group starts from the addend, or from zero.
 */
export function accumulate(
  dnnl: Dnnl,
  { to, addend, m, n }: MatrixGradient,
  { rows, first }: Omit<Piece, 'from'>,
  left: number,
  right: number,
  leftPrepared = false,
): void {
  const start = first ? addend : undefined
  const inPlace = !first || start === to
  dnnl
    .product({
      m,
      k: rows,
      n,
      a: { stride: m, transposed: true, prepared: leftPrepared },
      b: { stride: n, prepared: true },
      c: n,
      ...(inPlace ? { plus: 'c' as const } : start !== undefined && { plus: n }),
    })
    .run(left, right, to, ...(start !== undefined && !inPlace ? [start] : []))
}

/** Gradients of weights, summed over the source ranks of each part. */
export class WeightGradients {
  /** One for each part of an expert. */
  readonly tasks: number
  private readonly thread: KernelThread
  private readonly gradients: readonly WeightGradient[]
  private readonly experts: number
  private readonly sources: number
  private readonly parts: number
  /** Source ranks of a part; of the last one maybe fewer. */
  private readonly leaves: number
  private readonly sizes: BigInt64Array
  private readonly scratch: number

  /** @param scratch Address of {@link WeightGradients.scratch} bytes. At the thread's own there is room for a row of zeros. */
  constructor(
    call: KernelCall,
    thread: KernelThread,
    sizes: KernelTensor,
    experts: number,
    gradients: readonly WeightGradient[],
    scratch: number,
  ) {
    this.thread = thread
    this.gradients = gradients
    this.experts = experts
    this.sources = groupsOf(sizes, experts).sources
    this.leaves = leavesOf(call)
    this.parts = Math.ceil(this.sources / this.leaves)
    this.tasks = experts * this.parts
    this.sizes = sizesOf(sizes, thread)
    this.scratch = scratch
  }

  /** Bytes of the sums that wait for others. @param floats Of the matrices of an expert. */
  static scratch(call: KernelCall, floats: number): number {
    return 4 * floats * counterSums(leavesOf(call))
  }

  /**
   * Calls `compute` for each group of a part, with the pieces of its rows and the places of its gradients, and adds
   * them.
   */
  run(task: number, compute: (expert: number, piece: Piece, gradients: readonly MatrixGradient[]) => void): void {
    const { sizes, experts, sources, parts, leaves, thread } = this
    const { expert, part } = byLoad(sizes, experts, parts, task)
    const first = part * leaves
    const count = Math.min(leaves, sources - first)
    for (let leaf = 0; leaf < count; leaf++) {
      const { add, keepAt } = counterStep(leaf, count)
      const all = pieces(sizes, (first + leaf) * experts + expert)
      const gradients = this.gradients.map((_, i) => this.gradientOf(i, expert * parts + part, keepAt))
      if (all.length === 0) this.writeZeros(gradients)
      for (const piece of all) compute(expert, piece, gradients)
      for (const level of add)
        for (const [i, { to, m, n }] of gradients.entries()) thread.dnnl.add(m * n).run(to, this.waiting(i, level), to)
    }
  }

  /** @param keepAt Where the sum waits; null: in its place among the outputs. */
  private gradientOf(index: number, matrix: number, keepAt: number | null): MatrixGradient {
    const { target, addend, m, n } = this.gradients[index] as WeightGradient
    if (keepAt !== null) return { to: this.waiting(index, keepAt), addend: undefined, m, n }
    const start = matrix * m * n
    return { to: at(target, start), addend: addend && at(addend, start), m, n }
  }

  /** Address of the sum of gradient `index` that waits at a level of the tree. */
  private waiting(index: number, level: number): number {
    const sizes = this.gradients.map(({ m, n }) => m * n)
    const sum = (of: readonly number[]) => of.reduce((total, size) => total + size, 0)
    return this.scratch + 4 * (level * sum(sizes) + sum(sizes.slice(0, index)))
  }

  /** Gradients of an expert without rows: zero plus the addend, as a product with a row of zeros. */
  private writeZeros(gradients: readonly MatrixGradient[]): void {
    const { dnnl, floats, scratch } = this.thread
    const zeros = scratch.offset / 4
    for (const gradient of gradients) {
      floats.fill(0, zeros, zeros + Math.max(gradient.m, gradient.n))
      accumulate(dnnl, gradient, { rows: 1, first: true }, scratch.address, scratch.address)
    }
  }
}

const leavesOf = ({ attributes }: KernelCall): number => attributes.leaves as number
