/**
 * The matrices of an attention task in the memory of a thread, and batched products over its heads. A task is a few
 * heads of keys of one sequence, with all heads of queries that share them. It takes one query head of each at a time,
 * a *turn*: so a batch has a matrix for each head of keys, and gradients of keys are added up turn by turn.
 */
import type { Dnnl } from '../../onednn/dnnl.ts'
import type { Batch, Product } from '../../onednn/product.ts'
import type { KernelCall, KernelTensor, KernelThread } from '../contract.ts'
import { blockScores, blocksOf, bytesFor, type QueryBlock, type Shape } from './head-shape.ts'

/** Rows are rotated in groups of this size, for all heads of a task. */
const ROTATED_ROWS = 64

/** A factor of the products of a task: one matrix for each head. Strides are in elements. */
export interface Factor {
  readonly address: number
  /** From one row to the next. */
  readonly stride: number
  /** From one head to the next. */
  readonly head: number
}

/** Optional inputs after qkv: cos, sin [S, d/2], then the first position that each token sees, int32 [T]. */
export interface OptionalInputs {
  readonly tables: readonly [cos: KernelTensor, sin: KernelTensor] | null
  readonly first: KernelTensor | null
}

export function optionalInputs({ inputs }: KernelCall, qkvAt: number): OptionalInputs {
  const optional = inputs.slice(qkvAt + 1)
  const first = optional.length % 2 === 1 ? optional.pop() : undefined
  const [cos, sin] = optional
  return { tables: cos && sin ? [cos, sin] : null, first: first ?? null }
}

/** Offsets are in bytes, in the memory of the program. */
export class Heads {
  readonly shape: Shape
  readonly blocks: readonly QueryBlock[]
  readonly dnnl: Dnnl
  private readonly thread: KernelThread
  private readonly optional: OptionalInputs
  private reserved = 0

  constructor(shape: Shape, thread: KernelThread, optional: OptionalInputs) {
    this.shape = shape
    this.dnnl = thread.dnnl
    this.thread = thread
    this.optional = optional
    this.blocks = blocksOf(shape)
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

  /** A matrix [S, d] for each head of keys, `times` over. */
  reserveMatrices(times = 1): number {
    const { sequence, size, headsPerTask } = this.shape
    return this.reserve(times * headsPerTask * sequence * size)
  }

  reserveScores(): number {
    return this.reserve(blockScores(this.shape))
  }

  private groupsOfSequence(): number {
    return this.shape.keyHeads / this.shape.headsPerTask
  }

  sequenceOf(task: number): number {
    return Math.floor(task / this.groupsOfSequence())
  }

  /**
   * Index of the first element of a task's first head, in rows of `stride` elements that have all heads.
   * @param apart Elements from the part of one head of keys to that of the next.
   */
  private start(task: number, stride: number, apart: number): number {
    const { headsPerTask, sequence } = this.shape
    return this.sequenceOf(task) * sequence * stride + (task % this.groupsOfSequence()) * headsPerTask * apart
  }

  /** Elements from the queries of one head of keys to those of the next. */
  get apart(): number {
    return this.shape.turns * this.shape.size
  }

  /** Index of a task's first query of a turn in rows of all queries, `stride` elements apart. */
  queryAt(task: number, stride: number, turn = 0): number {
    return this.start(task, stride, this.apart) + turn * this.shape.size
  }

  /** Offset of a task's first head of keys or values in rows of qkv. */
  offsetOf(tensor: KernelTensor, task: number, part: 'keys' | 'values'): number {
    const { stride, width, keyWidth, size } = this.shape
    return tensor.offset + 4 * (this.start(task, stride, size) + width + (part === 'keys' ? 0 : keyWidth))
  }

  /**
   * Rotates and scales rows of qkv for the heads of a task, into one matrix [S, d] per head.
   * @param apart Floats from one head to the next.
   */
  gather(from: number, apart: number, to: number, scale: number): void {
    const { size, stride, sequence } = this.shape
    this.forEachPiece((head, first, rows) =>
      this.rotate(
        from + 4 * (first * stride + head * apart),
        stride,
        to + 4 * size * (head * sequence + first),
        size,
        rows,
        first,
        scale,
        1,
      ),
    )
  }

  /** The reverse of {@link gather}, for gradients. */
  scatter(from: number, to: number, apart: number, scale: number): void {
    const { size, stride, sequence } = this.shape
    this.forEachPiece((head, first, rows) =>
      this.rotate(
        from + 4 * size * (head * sequence + first),
        size,
        to + 4 * (first * stride + head * apart),
        stride,
        rows,
        first,
        scale,
        -1,
      ),
    )
  }

  private forEachPiece(body: (head: number, first: number, rows: number) => void): void {
    const { sequence, headsPerTask } = this.shape
    for (let first = 0; first < sequence; first += ROTATED_ROWS)
      for (let head = 0; head < headsPerTask; head++) body(head, first, Math.min(ROTATED_ROWS, sequence - first))
  }

  private rotate(
    from: number,
    fromStride: number,
    to: number,
    toStride: number,
    rows: number,
    first: number,
    scale: number,
    sign: 1 | -1,
  ): void {
    const { size } = this.shape
    const { functions } = this.thread
    const { tables } = this.optional
    if (!tables) {
      functions.scaleRows(from, fromStride, to, toStride, rows, size, scale)
      return
    }
    const half = size / 2
    const [cos, sin] = tables
    const skip = 4 * first * half
    functions.rotate(from, fromStride, to, toStride, rows, half, cos.offset + skip, sin.offset + skip, scale, sign)
  }

  /** Matrices written by {@link gather}, as a factor: in place, or rounded into `rounded`. */
  gathered(from: number, rounded: number): Factor {
    const { size, sequence, headsPerTask } = this.shape
    const address = this.prepared(this.address(from), rounded, headsPerTask * sequence, size, size)
    return { address, stride: size, head: sequence * size }
  }

  /** Rows of `stride` floats with the task's heads side by side, `apart` floats each, as a factor. */
  sideBySide(from: number, rounded: number, stride: number, apart: number): Factor {
    const { sequence, headsPerTask } = this.shape
    const address = this.prepared(from, rounded, sequence, headsPerTask * apart, stride)
    return { address, stride: address === from ? stride : headsPerTask * apart, head: apart }
  }

  /** Fills a task's heads with zeros, in `rows` rows of qkv's gradient. */
  clearRows(offset: number, rows: number): void {
    const { stride, size, headsPerTask } = this.shape
    for (let row = 0; row < rows; row++) {
      const at = offset / 4 + row * stride
      this.thread.floats.fill(0, at, at + headsPerTask * size)
    }
  }

  /** Fills the first `rows` rows of the matrices of a task's heads with zeros. */
  clearMatrices(offset: number, rows: number): void {
    const { sequence, size, headsPerTask } = this.shape
    for (let head = 0; head < headsPerTask; head++) {
      const at = offset / 4 + head * sequence * size
      this.thread.floats.fill(0, at, at + rows * size)
    }
  }

  prepared(from: number, rounded: number, rows: number, columns: number, stride: number): number {
    return this.dnnl.prepare(from, this.address(rounded), rows, columns, stride)
  }

  /** Scores of a block as a factor. */
  scoresOf(offset: number, rows: number, keys: number): Factor {
    return { address: this.address(offset), stride: keys, head: rows * keys }
  }

  /**
   * [m, k]·[k, n] of every head, to floats with the strides of c.
   * @param skip Elements of a and of b before the first one used.
   */
  multiply(
    [m, k, n]: readonly [number, number, number],
    [a, aSide, aSkip = 0]: readonly [Factor, ('ᵀ' | '')?, number?],
    [b, bSide, bSkip = 0]: readonly [Factor, ('ᵀ' | '')?, number?],
    c: Factor,
    plus?: 'c',
  ): void {
    const { dnnl, shape } = this
    const spec: Product = {
      m,
      k,
      n,
      a: { stride: a.stride, transposed: aSide === 'ᵀ' },
      b: { stride: b.stride, transposed: bSide === 'ᵀ' },
      c: c.stride,
      ...(plus && { plus }),
    }
    const batch: Batch = { count: shape.headsPerTask, a: a.head, b: b.head, c: c.head }
    const bytes = dnnl.factorBytes
    dnnl.productOfPrepared(spec, batch).run(a.address + bytes * aSkip, b.address + bytes * bSkip, c.address)
  }

  /** Masked q·kᵀ of a block of scaled queries, in float32 at `scores` [heads, rows, keys]. */
  score(task: number, q: Factor, k: Factor, scores: number, { from, rows, first, keys }: QueryBlock): void {
    const { shape, thread, optional } = this
    this.multiply(
      [rows, shape.size, keys],
      [q, '', from * q.stride],
      [k, 'ᵀ', first * k.stride],
      this.scoresOf(scores, rows, keys),
    )
    const sequence = this.sequenceOf(task)
    for (let head = 0; head < shape.headsPerTask; head++) {
      const matrix = scores + 4 * head * rows * keys
      thread.functions.maskAbove(matrix, keys, rows, keys, from - first)
      if (!optional.first) continue
      const firsts = optional.first.offset + 4 * (sequence * shape.sequence + from)
      thread.functions.maskBefore(matrix, keys, rows, firsts, first)
    }
  }

  address(offset: number): number {
    const { scratch } = this.thread
    return scratch.address + (offset - scratch.offset)
  }
}
