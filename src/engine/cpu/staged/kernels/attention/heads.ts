/**
 * The matrices of an attention task in the memory of a thread, and batched products over its heads. A task is a few
 * heads of keys of one sequence, with all heads of queries that share them. In a *turn* it takes one head of queries
 * for each head of keys. So a batch has a matrix for each head of keys, and gradients of keys are added up turn by
 * turn.
 */
import type { Batch, Primitives, Product } from '../../../primitives/primitives.ts'
import type { KernelTensor, KernelThread } from '../../contract.ts'
import { elementBytes } from '../floats.ts'
import { bytesFor, type QueryBlock, type Shape } from './head-shape.ts'

/** Number of rows that are moved at a time, so that all parts of a row are read soon after each other. */
const PIECE_ROWS = 16

/**
 * Distance below the largest score at which a score vanishes: in float32 even a million times e⁻⁶⁰ is nothing beside 1.
 */
const FAR_BELOW = 60

/** A factor of products: one matrix for each head. Strides are in elements. */
export interface Factor {
  readonly address: number
  /** Stride from one row to the next. */
  readonly stride: number
  /** Stride from one head to the next. */
  readonly head: number
}

/** A matrix [S, d] for each head of a task in scratch memory: prepared factors, or float32. */
export interface Matrices extends Factor {
  readonly offset: number
  /** Bytes of an element. */
  readonly bytes: 2 | 4
}

/** A task's heads in rows of a tensor. Strides are in elements, offset and address in bytes. */
export interface Rows {
  /** Bytes of an element. */
  readonly bytes: 2 | 4
  readonly offset: number
  readonly address: number
  /** Stride from one token to the next. */
  readonly stride: number
  /** Stride from one head to the next. */
  readonly apart: number
}

/** A move between rows and matrices. */
export interface Move {
  readonly rows: Rows
  readonly matrices: Matrices
  readonly scale: number
  /** Whether to rotate the rows, if there are angles. */
  readonly rotate: boolean
}

/** Optional inputs of attention. */
export interface OptionalInputs {
  readonly cos?: KernelTensor | undefined
  readonly sin?: KernelTensor | undefined
  readonly first?: KernelTensor | undefined
}

/** The heads of attention tasks on one thread. Offsets are in bytes, in the memory of the program. */
export class Heads {
  readonly shape: Shape
  readonly primitives: Primitives
  private readonly thread: KernelThread
  private readonly optional: OptionalInputs
  private reserved = 0

  constructor(shape: Shape, thread: KernelThread, optional: OptionalInputs) {
    this.shape = shape
    this.primitives = thread.primitives
    this.thread = thread
    this.optional = optional
  }

  get tasks(): number {
    const { batch, keyHeads, headsPerTask } = this.shape
    return (batch * keyHeads) / headsPerTask
  }

  /** Reserves scratch memory; returns its offset. */
  reserve(floats: number): number {
    const offset = this.thread.scratch.offset + this.reserved
    this.reserved += bytesFor(floats)
    return offset
  }

  reserveFactors(): Matrices {
    return this.reserveMatrices(this.primitives.factorBytes)
  }

  reserveFloats(): Matrices {
    return this.reserveMatrices(4)
  }

  private reserveMatrices(bytes: 2 | 4): Matrices {
    const { sequence, size, headsPerTask } = this.shape
    const offset = this.reserve((bytes / 4) * headsPerTask * sequence * size)
    return { offset, bytes, address: this.address(offset), stride: size, head: sequence * size }
  }

  private groupsOfSequence(): number {
    return this.shape.keyHeads / this.shape.headsPerTask
  }

  private sequenceOf(task: number): number {
    return Math.floor(task / this.groupsOfSequence())
  }

  private firstHeadOf(task: number): number {
    return (task % this.groupsOfSequence()) * this.shape.headsPerTask
  }

  /**
   * A task's heads in a tensor whose rows have the queries of all heads, and in qkv also the keys and values after
   * them.
   */
  rowsOf(tensor: KernelTensor, task: number, part: 'queries' | 'keys' | 'values', turn = 0): Rows {
    const { sequence, size, turns, width, keyWidth } = this.shape
    const stride = tensor.shape.at(-1) as number
    const apart = part === 'queries' ? turns * size : size
    const column = { queries: turn * size, keys: width, values: width + keyWidth }[part]
    const bytes = elementBytes(tensor)
    const skip = bytes * (this.sequenceOf(task) * sequence * stride + this.firstHeadOf(task) * apart + column)
    return { bytes, offset: tensor.offset + skip, address: tensor.address + skip, stride, apart }
  }

  /** Offset of a number for each query of one of the task's heads, in a tensor [B, H, S]. */
  numbersOf(tensor: KernelTensor, task: number, turn: number, head: number): number {
    const { keyHeads, turns, sequence } = this.shape
    const keyHead = this.sequenceOf(task) * keyHeads + this.firstHeadOf(task) + head
    return tensor.offset + 4 * sequence * (keyHead * turns + turn)
  }

  /**
   * Copies rows into matrices, piece by piece. Scales, rotates if there are angles, and rounds to the matrices' type.
   */
  gather(...moves: readonly Move[]): void {
    const { size, headsPerTask } = this.shape
    const { functions } = this.thread
    this.forEachPiece((first, rows) => {
      for (const { rows: from, matrices: to, scale, rotate } of moves) {
        const source = [from.offset + from.bytes * first * from.stride, from.bytes, from.stride, from.apart] as const
        const target = [to.offset + to.bytes * first * size, to.bytes, size, to.head, rows, headsPerTask] as const
        const angles = rotate ? this.anglesFrom(first) : null
        if (angles) functions.rotateHeads(...source, ...target, size / 2, ...angles, scale, 1)
        else functions.scaleHeads(...source, ...target, size, scale)
      }
    })
  }

  /** Copies float32 matrices into rows, the reverse of {@link gather}: it rotates back. */
  scatter(...moves: readonly Move[]): void {
    const { size, headsPerTask } = this.shape
    const { functions } = this.thread
    this.forEachPiece((first, rows) => {
      for (const { rows: to, matrices: from, scale, rotate } of moves) {
        const source = [from.offset + 4 * first * size, 4, size, from.head] as const
        const target = [
          to.offset + to.bytes * first * to.stride,
          to.bytes,
          to.stride,
          to.apart,
          rows,
          headsPerTask,
        ] as const
        const angles = rotate ? this.anglesFrom(first) : null
        if (angles) functions.rotateHeads(...source, ...target, size / 2, ...angles, scale, -1)
        else functions.scaleHeads(...source, ...target, size, scale)
      }
    })
  }

  private anglesFrom(first: number): readonly [cos: number, sin: number] | null {
    const { cos, sin } = this.optional
    if (!cos || !sin) return null
    const skip = 2 * first * this.shape.size
    return [cos.offset + skip, sin.offset + skip]
  }

  private forEachPiece(body: (first: number, rows: number) => void): void {
    const { sequence } = this.shape
    for (let first = 0; first < sequence; first += PIECE_ROWS) body(first, Math.min(PIECE_ROWS, sequence - first))
  }

  /** Writes Σ a·b of the queries of a block to float32 [heads, rows]. a and b have the same strides. */
  dots(a: Rows, b: Rows, { from, rows }: QueryBlock, to: number): void {
    const { headsPerTask, size } = this.shape
    const skip = from * a.stride
    const factors = [a.offset + a.bytes * skip, a.bytes, b.offset + b.bytes * skip, b.bytes] as const
    this.thread.functions.headDots(...factors, a.stride, a.apart, rows, headsPerTask, size, to, rows)
  }

  /** Copies numbers of the queries of a block from a tensor [B, H, S] to [heads, rows]. */
  copyNumbers(tensor: KernelTensor, task: number, turn: number, { from, rows }: QueryBlock, to: number): void {
    for (let head = 0; head < this.shape.headsPerTask; head++) {
      const at = this.numbersOf(tensor, task, turn, head) / 4 + from
      this.thread.floats.copyWithin(to / 4 + head * rows, at, at + rows)
    }
  }

  /** Fills float32 matrices with zeros. */
  clear({ offset, head }: Matrices): void {
    this.thread.floats.fill(0, offset / 4, offset / 4 + this.shape.headsPerTask * head)
  }

  /** The part of matrices from a row on, as a factor. */
  from({ address, stride, head, bytes }: Matrices, row: number): Factor {
    return { address: address + bytes * row * stride, stride, head }
  }

  /** Scores [heads, rows, columns] as a factor. */
  scoresOf(offset: number, rows: number, columns: number): Factor {
    return { address: this.address(offset), stride: columns, head: rows * columns }
  }

  /**
   * Writes the product [m, k]·[k, n] of every head to c, by its strides.
   * @param row Offset of the rows [heads, n] that `finish` subtracts.
   * @param factor The factor of `finish`.
   */
  multiply(
    [m, k, n]: readonly [number, number, number],
    [a, aSide]: readonly [Factor, 'ᵀ'?],
    [b, bSide]: readonly [Factor, 'ᵀ'?],
    c: Factor,
    more: Pick<Product, 'plus' | 'finish' | 'half'> = {},
    row?: number,
    factor?: Factor,
  ): void {
    const spec: Product = {
      m,
      k,
      n,
      a: { stride: a.stride, transposed: aSide === 'ᵀ' },
      b: { stride: b.stride, transposed: bSide === 'ᵀ' },
      c: c.stride,
      half: more.finish !== undefined && this.primitives.factorBytes === 2,
      ...more,
    }
    const batch: Batch = { count: this.shape.headsPerTask, a: a.head, b: b.head, c: c.head }
    const operands = [...(row === undefined ? [] : [this.address(row)]), ...(factor ? [factor.address] : [])]
    this.primitives.productOfPrepared(spec, batch).run(a.address, b.address, c.address, ...operands)
  }

  /** Sets masked scores, or probabilities, [heads, rows, keys] of a block of queries to a value. */
  mask(task: number, scores: number, { from, rows, first, keys }: QueryBlock, value: number): void {
    const { headsPerTask } = this.shape
    const { functions } = this.thread
    for (let head = 0; head < headsPerTask; head++) {
      const matrix = scores + 4 * head * rows * keys
      functions.maskAbove(matrix, keys, rows, keys, from - first, value)
      if (this.optional.first) functions.maskBefore(matrix, keys, rows, this.firstsAt(task, from), first, value)
    }
  }

  /** Raises scores [heads, rows, keys] that vanish in a softmax, if the softmax would be slow with them. */
  raiseLow(scores: number, { rows, keys }: QueryBlock): void {
    if (this.primitives.slowFarBelow)
      this.thread.functions.raiseLow(scores, this.shape.headsPerTask * rows, keys, FAR_BELOW)
  }

  /** Sets masked probabilities to 0. The probabilities [heads, keys, rows] are transposed, and prepared factors. */
  clearMasked(task: number, probabilities: number, { from, rows, first, keys }: QueryBlock): void {
    const { headsPerTask } = this.shape
    const { functions } = this.thread
    const bytes = this.primitives.factorBytes
    for (let head = 0; head < headsPerTask; head++) {
      const matrix = probabilities + bytes * head * rows * keys
      functions.clearAfter(matrix, bytes, keys, rows, from - first)
      if (this.optional.first) functions.clearBefore(matrix, bytes, keys, rows, this.firstsAt(task, from), first)
    }
  }

  private firstsAt(task: number, from: number): number {
    const offset = this.optional.first?.offset ?? 0
    return offset + 4 * (this.sequenceOf(task) * this.shape.sequence + from)
  }

  address(offset: number): number {
    const { scratch } = this.thread
    return scratch.address + (offset - scratch.offset)
  }
}
