/**
 * Some heads of one sequence in a thread's memory: the matrices of a task of attention, and products of all
 * its heads at once.
 */
import type { Dnnl } from '../../onednn/dnnl.ts'
import type { Batch, Product } from '../../onednn/product.ts'
import type { KernelCall, KernelTensor, KernelThread } from '../contract.ts'

/** Queries of a block, at most. */
const BLOCK = 64
/** Heads of a task, at most; fewer where a sequence is long. */
const HEADS = 4
/** Floats of the scores of a block, at most, unless a single head has more. */
const SCORES = 2 ** 17
/** Rows that are rotated for all heads of a task before the next rows are. */
const ROWS = 64

export interface Shape {
  readonly batch: number
  readonly sequence: number
  readonly heads: number
  /** Width of a head. */
  readonly size: number
  readonly scale: number
  /** Floats from a token's q, k, v to the next token's, and from q to k to v. */
  readonly stride: number
  readonly width: number
  /** Heads of a task: a divisor of heads. */
  readonly together: number
}

export function shapeOf({ attributes, inputs }: KernelCall, qkvAt: number): Shape {
  const { batch, sequence, heads, scale } = attributes as Record<'batch' | 'sequence' | 'heads', number> & {
    scale: { float: number }
  }
  const stride = (inputs[qkvAt] as KernelTensor).shape.at(-1) as number
  const width = stride / 3
  let together = Math.min(HEADS, heads, Math.max(1, Math.floor(SCORES / (BLOCK * sequence))))
  while (heads % together !== 0) together--
  return { batch, sequence, heads, size: width / heads, scale: scale.float, stride, width, together }
}

const roundUp = (floats: number): number => Math.ceil(floats / 16) * 64

/** A factor of the products of a task: a matrix for each head. Distances count elements. */
export interface Factor {
  readonly address: number
  /** From a row to the next, and from a head to the next. */
  readonly stride: number
  readonly head: number
}

/** Queries `from` to `keys`, which see the first `keys` keys. */
interface QueryBlock {
  readonly from: number
  readonly rows: number
  readonly keys: number
}

/** Inputs after qkv, all optional: cos, sin [S, d/2], then the first position that each token sees, int32 [T]. */
export interface OtherInputs {
  readonly tables: readonly [cos: KernelTensor, sin: KernelTensor] | null
  readonly first: KernelTensor | null
}

export function otherInputs({ inputs }: KernelCall, qkvAt: number): OtherInputs {
  const others = inputs.slice(qkvAt + 1)
  const first = others.length % 2 === 1 ? others.pop() : undefined
  const [cos, sin] = others
  return { tables: cos && sin ? [cos, sin] : null, first: first ?? null }
}

/** Some heads of one sequence in the thread's memory. Places are byte offsets in the memory of the program. */
export class Heads {
  readonly shape: Shape
  readonly blocks: readonly QueryBlock[]
  readonly dnnl: Dnnl
  private readonly thread: KernelThread
  private readonly others: OtherInputs
  private taken = 0

  constructor(shape: Shape, thread: KernelThread, others: OtherInputs) {
    this.shape = shape
    this.dnnl = thread.dnnl
    this.thread = thread
    this.others = others
    const { sequence } = shape
    const count = Math.ceil(sequence / BLOCK)
    this.blocks = Array.from({ length: count }, (_, i) => {
      const [from, keys] = [Math.floor((sequence * i) / count), Math.floor((sequence * (i + 1)) / count)]
      return { from, rows: keys - from, keys }
    })
  }

  get tasks(): number {
    const { batch, heads, together } = this.shape
    return (batch * heads) / together
  }

  /** The place of so many floats of scratch memory. */
  take(floats: number): number {
    const place = this.thread.scratch.offset + this.taken
    this.taken += roundUp(floats)
    return place
  }

  takeMatrices(): number {
    const { sequence, size, together } = this.shape
    return this.take(together * sequence * size)
  }

  takeScores(): number {
    const { sequence, together } = this.shape
    return this.take(together * BLOCK * sequence)
  }

  /** The element at which a task's first head begins in rows of `stride` elements, which hold all heads. */
  start(task: number, stride: number): number {
    const { heads, together, sequence, size } = this.shape
    const groups = heads / together
    return Math.floor(task / groups) * sequence * stride + (task % groups) * together * size
  }

  /** The place of a task's first head in a tensor of rows of qkv; part 0, 1, 2 for q, k, v. */
  place(tensor: KernelTensor, task: number, part: number): number {
    const { stride, width } = this.shape
    return tensor.offset + 4 * (this.start(task, stride) + part * width)
  }

  /** Rotated rows of all heads of a task, times a factor, from rows of qkv to a matrix [S, d] a head. */
  gather(from: number, to: number, scale: number): void {
    const { size, stride, sequence } = this.shape
    this.eachPiece((head, first, rows) =>
      this.rotate(
        from + 4 * (first * stride + head * size),
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

  /** The way back of a gradient. */
  scatter(from: number, to: number, scale: number): void {
    const { size, stride, sequence } = this.shape
    this.eachPiece((head, first, rows) =>
      this.rotate(
        from + 4 * size * (head * sequence + first),
        size,
        to + 4 * (first * stride + head * size),
        stride,
        rows,
        first,
        scale,
        -1,
      ),
    )
  }

  private eachPiece(body: (head: number, first: number, rows: number) => void): void {
    const { sequence, together } = this.shape
    for (let first = 0; first < sequence; first += ROWS)
      for (let head = 0; head < together; head++) body(head, first, Math.min(ROWS, sequence - first))
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
    const { rows: functions } = this.thread
    const { tables } = this.others
    if (!tables) {
      functions.scaleRows?.(from, fromStride, to, toStride, rows, size, scale)
      return
    }
    const half = size / 2
    const [cos, sin] = tables
    const skip = 4 * first * half
    functions.rotate?.(from, fromStride, to, toStride, rows, half, cos.offset + skip, sin.offset + skip, scale, sign)
  }

  /** Matrices as `gather` lays them, as a factor: in place, or rounded into `rounded`. */
  gathered(from: number, rounded: number): Factor {
    const { size, sequence, together } = this.shape
    const address = this.prepared(this.address(from), rounded, together * sequence, size, size)
    return { address, stride: size, head: sequence * size }
  }

  /** Rows of `stride` floats that hold the task's heads side by side, as a factor. */
  sideBySide(from: number, rounded: number, stride: number): Factor {
    const { size, sequence, together } = this.shape
    const address = this.prepared(from, rounded, sequence, together * size, stride)
    return { address, stride: address === from ? stride : together * size, head: size }
  }

  prepared(from: number, rounded: number, rows: number, columns: number, stride: number): number {
    if (this.dnnl.factorBytes === 4) return from
    const to = this.address(rounded)
    this.dnnl.round(rows, columns, stride).run(from, to)
    return to
  }

  /** Scores of a block as a factor, or its transpose. */
  scoresOf(place: number, rows: number, keys: number): Factor {
    return { address: this.address(place), stride: keys, head: rows * keys }
  }

  /**
   * [m, k]·[k, n] of every head, to floats whose rows are `stride` apart and heads `head`.
   * @param skip Elements of a, and of b, before the first that is used.
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
    const batch: Batch = { count: shape.together, a: a.head, b: b.head, c: c.head }
    const bytes = dnnl.factorBytes
    dnnl.productOfPrepared(spec, batch).run(a.address + bytes * aSkip, b.address + bytes * bSkip, c.address)
  }

  /** q·kᵀ of a block of scaled queries, masked, in float32 at `scores` [heads, rows, keys]. */
  score(task: number, q: Factor, k: Factor, scores: number, { from, rows, keys }: QueryBlock): void {
    const { shape, thread, others } = this
    this.multiply([rows, shape.size, keys], [q, '', from * q.stride], [k, 'ᵀ'], this.scoresOf(scores, rows, keys))
    const sequence = Math.floor(task / (shape.heads / shape.together))
    for (let head = 0; head < shape.together; head++) {
      const matrix = scores + 4 * head * rows * keys
      thread.rows.maskAbove?.(matrix, keys, rows, keys, from)
      if (!others.first) continue
      thread.rows.maskBefore?.(matrix, keys, rows, others.first.offset + 4 * (sequence * shape.sequence + from))
    }
  }

  address(place: number): number {
    const { scratch } = this.thread
    return scratch.address + (place - scratch.offset)
  }
}

export const flopsOf = ({ batch, sequence, heads, size }: Shape, products: number): number =>
  // Half of the scores are masked.
  (products * 2 * batch * heads * sequence * (sequence + 1) * size) / 2

export const scratchOf = ({ sequence, size, together }: Shape, matrices: number, scores: number): number =>
  matrices * roundUp(together * sequence * size) + scores * roundUp(together * BLOCK * sequence)
