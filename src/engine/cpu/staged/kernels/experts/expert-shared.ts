/**
 * Code that the kernels of experts share: the rows of each group, from sizes int64 [groups + 1], and gradients of
 * weights. A *group* is the rows of one expert from one source rank: with n experts on this rank and E source ranks,
 * group s·n + e has the rows of expert e from rank s. Rows of different sources are never multiplied together, so that
 * their products have the bits of one process; gradients of weights are added in the order of the tree
 * (`src/core/graph/tree.ts`), while they are in the cache.
 */
import type { SourceSums } from '../../../../../core/graph/kernels/experts.ts'
import { counterStep, counterSums } from '../../../../../core/graph/tree.ts'
import type { Primitives } from '../../../primitives/primitives.ts'
import type { KernelTensor, KernelThread } from '../../contract.ts'
import { addressAt } from '../floats.ts'

/** Maximum number of rows in a piece. */
export const PIECE = 512

export interface Piece {
  readonly from: number
  readonly rows: number
  /** Whether this is the first piece of the group. */
  readonly first: boolean
}

/** Number of groups of n experts, and number of source ranks, which is the number of groups of each expert. */
export function groupsOf(sizes: KernelTensor, experts: number) {
  const groups = sizes.size - 1
  return { groups, sources: groups / experts }
}

/**
 * The rows of each group. They are known only at run time, and are the same for all tasks of a run. So starts and order
 * are computed once, not for each of the many tasks.
 */
export class GroupRows {
  /** Lower and upper halves of the sizes, because comparing them creates no bigints. */
  private readonly sizes: Int32Array
  private readonly seen: Int32Array
  private readonly experts: number
  private starts: readonly number[] = []
  private order: readonly number[] = []

  constructor(sizes: BigInt64Array, experts: number) {
    this.sizes = new Int32Array(sizes.buffer, sizes.byteOffset, 2 * sizes.length)
    this.seen = new Int32Array(2 * sizes.length).fill(-1)
    this.experts = experts
  }

  /** The rows of a group, in pieces. */
  pieces(group: number): Piece[] {
    this.update()
    const start = this.starts[group] as number
    const rows = (this.starts[group + 1] as number) - start
    const count = Math.ceil(rows / PIECE)
    return Array.from({ length: count }, (_, i) => {
      const [from, to] = [Math.floor((rows * i) / count), Math.floor((rows * (i + 1)) / count)]
      return { from: start + from, rows: to - from, first: i === 0 }
    })
  }

  /**
   * The expert and the part of a task, if each expert has `parts` tasks. Experts with the most rows come first, so that
   * the last tasks are small and no thread waits long. The parts of an expert follow each other, and share its weights
   * in the cache.
   */
  byLoad(parts: number, task: number): { expert: number; part: number } {
    this.update()
    return { expert: this.order[Math.floor(task / parts)] as number, part: task % parts }
  }

  private update(): void {
    const { sizes, seen, experts } = this
    let same = true
    for (let i = 0; same && i < sizes.length; i++) same = sizes[i] === seen[i]
    if (same) return
    seen.set(sizes)
    const counts = Array.from(seen.filter((_, i) => i % 2 === 0))
    const starts = [0]
    for (const count of counts) starts.push((starts.at(-1) as number) + count)
    const rows = new Array<number>(experts).fill(0)
    for (let g = 0; g < counts.length - 1; g++)
      rows[g % experts] = (rows[g % experts] as number) + (counts[g] as number)
    this.starts = starts
    this.order = Array.from(rows, (_, e) => e).sort((x, y) => (rows[y] as number) - (rows[x] as number) || x - y)
  }
}

export const sizesOf = (tensor: KernelTensor, { floats }: KernelThread): BigInt64Array =>
  new BigInt64Array(floats.buffer, tensor.offset, tensor.size)

/** The gradient [m, n] of a matrix, and the addend to start from, by their addresses. */
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
  primitives: Primitives,
  { to, addend, m, n }: MatrixGradient,
  { rows, first }: Omit<Piece, 'from'>,
  left: number,
  right: number,
  leftPrepared = false,
): void {
  const start = first ? addend : undefined
  const inPlace = !first || start === to
  primitives
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
  /** Number of tasks: one for each part of each expert. */
  readonly tasks: number
  private readonly thread: KernelThread
  private readonly gradients: readonly WeightGradient[]
  private readonly experts: number
  private readonly sources: number
  private readonly parts: number
  /** Number of source ranks of a part; the last part may have fewer. */
  private readonly leaves: number
  private readonly rows: GroupRows
  private readonly scratch: number

  /**
   * @param scratch Address of {@link WeightGradients.scratch} bytes. The thread's own scratch memory must have room for
   * a row of zeros before it.
   */
  constructor(
    { leaves, parts, sources }: SourceSums,
    thread: KernelThread,
    { sizes, experts }: { readonly sizes: KernelTensor; readonly experts: number },
    gradients: readonly WeightGradient[],
    scratch: number,
  ) {
    this.thread = thread
    this.gradients = gradients
    this.experts = experts
    this.sources = sources
    this.leaves = leaves
    this.parts = parts
    this.tasks = experts * this.parts
    this.rows = new GroupRows(sizesOf(sizes, thread), experts)
    this.scratch = scratch
  }

  /** Bytes of the partial sums that wait for others. @param floats Number of floats in the matrices of an expert. */
  static scratch({ leaves }: SourceSums, floats: number): number {
    return 4 * floats * counterSums(leaves)
  }

  /**
   * Calls `compute` for each group of a part, with the pieces of its rows and the places of its gradients, and adds up
   * the gradients.
   */
  run(task: number, compute: (expert: number, piece: Piece, gradients: readonly MatrixGradient[]) => void): void {
    const { rows, experts, sources, parts, leaves, thread } = this
    const { expert, part } = rows.byLoad(parts, task)
    const first = part * leaves
    const count = Math.min(leaves, sources - first)
    for (let leaf = 0; leaf < count; leaf++) {
      const { add, keepAt } = counterStep(leaf, count)
      const all = rows.pieces((first + leaf) * experts + expert)
      const gradients = this.gradients.map((_, i) => this.gradientOf(i, expert * parts + part, keepAt))
      if (all.length === 0) this.writeZeros(gradients)
      for (const piece of all) compute(expert, piece, gradients)
      for (const level of add)
        for (const [i, { to, m, n }] of gradients.entries())
          thread.primitives.add(m * n).run(to, this.waiting(i, level), to)
    }
  }

  /** @param keepAt The level of the tree at which the sum waits; null if it goes to its place among the outputs. */
  private gradientOf(index: number, matrix: number, keepAt: number | null): MatrixGradient {
    const { target, addend, m, n } = this.gradients[index] as WeightGradient
    if (keepAt !== null) return { to: this.waiting(index, keepAt), addend: undefined, m, n }
    const start = matrix * m * n
    return { to: addressAt(target, start), addend: addend && addressAt(addend, start), m, n }
  }

  /** Address of the sum of gradient `index` that waits at a level of the tree. */
  private waiting(index: number, level: number): number {
    const sizes = this.gradients.map(({ m, n }) => m * n)
    const sum = (of: readonly number[]) => of.reduce((total, size) => total + size, 0)
    return this.scratch + 4 * (level * sum(sizes) + sum(sizes.slice(0, index)))
  }

  /** Writes the gradients of an expert without rows: zero plus the addend, as a product with a row of zeros. */
  private writeZeros(gradients: readonly MatrixGradient[]): void {
    const { primitives, floats, scratch } = this.thread
    const zeros = scratch.offset / 4
    for (const gradient of gradients) {
      floats.fill(0, zeros, zeros + Math.max(gradient.m, gradient.n))
      accumulate(primitives, gradient, { rows: 1, first: true }, scratch.address, scratch.address)
    }
  }
}
