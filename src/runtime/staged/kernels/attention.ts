/**
 * Causal self-attention straight from the rows of qkv. A task is a few heads of a sequence: their rotated
 * queries and keys are gathered first (a row of qkv is read once, not head by head), then each head is
 * worked through. Its scores are a few hundred kilobytes: they stay in the cache and are never written out
 * whole. Queries go in blocks, and a block looks only at the keys that it may see. The gradient computes
 * the scores anew.
 *
 * Queries are scaled when they are rotated: softmax(q·kᵀ) of scaled q needs no further factor, nor does
 * the gradient of k, and that of q takes the factor when it is rotated back.
 */
import type { Dnnl } from '../../onednn/dnnl.ts'
import type { Kernel, KernelCall, KernelTensor, KernelThread } from '../contract.ts'

/** Queries of a block. */
const BLOCK = 128
/** Heads of a task, at most. */
const HEADS = 4
/** Rows that are rotated for all heads of a task before the next rows are. */
const ROWS = 64

interface Shape {
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

function shapeOf({ attributes, inputs }: KernelCall, qkvAt: number): Shape {
  const { batch, sequence, heads, scale } = attributes as Record<string, number> & { scale: { float: number } }
  const stride = (inputs[qkvAt] as KernelTensor).shape.at(-1) as number
  const width = stride / 3
  let together = Math.min(HEADS, heads as number)
  while ((heads as number) % together !== 0) together--
  return {
    batch: batch as number,
    sequence: sequence as number,
    heads: heads as number,
    size: width / (heads as number),
    scale: scale.float,
    stride,
    width,
    together,
  }
}

const roundUp = (floats: number): number => Math.ceil(floats / 16) * 64

/** Some heads of one sequence in the thread's memory. Places are byte offsets in the memory of the program. */
class Heads {
  readonly shape: Shape
  readonly blocks: readonly { readonly from: number; readonly rows: number; readonly keys: number }[]
  private readonly thread: KernelThread
  private readonly tables: readonly [cos: KernelTensor, sin: KernelTensor] | null
  private taken = 0

  constructor(shape: Shape, thread: KernelThread, tables: readonly [KernelTensor, KernelTensor] | null) {
    this.shape = shape
    this.thread = thread
    this.tables = tables
    const { sequence } = shape
    this.blocks = Array.from({ length: Math.ceil(sequence / BLOCK) }, (_, i) => {
      const from = i * BLOCK
      const rows = Math.min(BLOCK, sequence - from)
      return { from, rows, keys: from + rows }
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

  /** Where a task begins: its sequence and its first head. */
  start(task: number): { readonly sample: number; readonly head: number } {
    const { heads, together } = this.shape
    const groups = heads / together
    return { sample: Math.floor(task / groups), head: (task % groups) * together }
  }

  /** The place of a task's first head in a tensor of rows of qkv; part 0, 1, 2 for q, k, v. */
  place(tensor: KernelTensor, task: number, part: number): number {
    const { sequence, size, stride, width } = this.shape
    const { sample, head } = this.start(task)
    return tensor.offset + 4 * (sample * sequence * stride + part * width + head * size)
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
    const half = this.shape.size / 2
    const { rows: functions } = this.thread
    if (!this.tables) {
      functions.scaleRows?.(from, fromStride, to, toStride, rows, 2 * half, scale)
      return
    }
    const [cos, sin] = this.tables
    const skip = 4 * first * half
    functions.rotate?.(from, fromStride, to, toStride, rows, half, cos.offset + skip, sin.offset + skip, scale, sign)
  }

  /** softmax(q·kᵀ) of a block of scaled queries, at `scores` [rows, keys]. */
  share(q: number, k: number, scores: number, rows: number, from: number): void {
    const { dnnl, rows: functions } = this.thread
    const { size } = this.shape
    const keys = from + rows
    dnnl
      .product({ m: rows, k: size, n: keys, a: { stride: size }, b: { stride: size, transposed: true }, c: keys })
      .run(this.address(q), this.address(k), this.address(scores))
    functions.maskAbove?.(scores, keys, rows, keys, from)
    dnnl.softmax(rows, keys).run(this.address(scores), this.address(scores))
  }

  address(place: number): number {
    const { scratch } = this.thread
    return scratch.address + (place - scratch.offset)
  }

  get dnnl(): Dnnl {
    return this.thread.dnnl
  }
}

const flopsOf = ({ batch, sequence, heads, size }: Shape, products: number): number =>
  // Half of the scores are masked.
  (products * 2 * batch * heads * sequence * (sequence + 1) * size) / 2

/** Inputs qkv [T, 3·D] (, cos, sin [S, d/2]); output [T, D]. */
export const attention: Kernel = {
  provider: 'oneDNN',
  scratch(call) {
    const { sequence, size, together } = shapeOf(call, 0)
    return 2 * roundUp(together * sequence * size) + roundUp(BLOCK * sequence)
  },

  prepare(call, thread) {
    const [qkv, cos, sin] = call.inputs as [KernelTensor, KernelTensor?, KernelTensor?]
    const [y] = call.outputs as [KernelTensor]
    const shape = shapeOf(call, 0)
    const { sequence, size, scale, stride, width, together } = shape
    const heads = new Heads(shape, thread, cos && sin ? [cos, sin] : null)
    const matrix = sequence * size
    const [q, k, scores] = [heads.take(together * matrix), heads.take(together * matrix), heads.take(BLOCK * sequence)]
    return {
      tasks: heads.tasks,
      run(task) {
        heads.gather(heads.place(qkv, task, 0), q, scale)
        heads.gather(heads.place(qkv, task, 1), k, 1)
        const { sample, head: first } = heads.start(task)
        for (let head = 0; head < together; head++) {
          const [qHead, kHead] = [q + 4 * head * matrix, k + 4 * head * matrix]
          const v = heads.address(heads.place(qkv, task, 2) + 4 * head * size)
          const out = y.address + 4 * (sample * sequence * width + (first + head) * size)
          for (const { from, rows, keys } of heads.blocks) {
            heads.share(qHead + 4 * from * size, kHead, scores, rows, from)
            heads.dnnl
              .product({ m: rows, k: keys, n: size, a: { stride: keys }, b: { stride }, c: width })
              .run(heads.address(scores), v, out + 4 * from * width)
          }
        }
      },
    }
  },

  work(call) {
    const shape = shapeOf(call, 0)
    return { flops: flopsOf(shape, 2), bytes: 4 * shape.batch * shape.sequence * 4 * shape.width }
  },
}

/** Inputs dy [T, D], qkv [T, 3·D] (, cos, sin); output the gradient of qkv. */
export const attentionGradient: Kernel = {
  provider: 'oneDNN',
  scratch(call) {
    const { sequence, size, together } = shapeOf(call, 1)
    return 4 * roundUp(together * sequence * size) + 2 * roundUp(BLOCK * sequence)
  },

  prepare(call, thread) {
    const [dy, qkv, cos, sin] = call.inputs as [KernelTensor, KernelTensor, KernelTensor?, KernelTensor?]
    const [dQkv] = call.outputs as [KernelTensor]
    const shape = shapeOf(call, 1)
    const { sequence, size, scale, stride, width, together } = shape
    const heads = new Heads(shape, thread, cos && sin ? [cos, sin] : null)
    const matrix = sequence * size
    const take = () => heads.take(together * matrix)
    const [q, k, dQ, dK] = [take(), take(), take(), take()]
    const [scores, dScores] = [heads.take(BLOCK * sequence), heads.take(BLOCK * sequence)]
    // The last block sees all keys: it writes what the others add to.
    const blocks = heads.blocks.toReversed()
    const { dnnl } = heads
    const address = (place: number) => heads.address(place)

    const headGradient = (head: number, v: number, dV: number, dOut: number) => {
      const at = (place: number, from = 0) => address(place + 4 * (head * matrix + from * size))
      blocks.forEach(({ from, rows, keys }, i) => {
        const plus = i === 0 ? {} : { plus: 'c' as const }
        const back = { m: keys, k: rows, n: size, a: { stride: keys, transposed: true } } as const
        const dBlock = dOut + 4 * from * width
        heads.share(q + 4 * (head * matrix + from * size), k + 4 * head * matrix, scores, rows, from)
        dnnl.product({ ...back, b: { stride: width }, c: stride, ...plus }).run(address(scores), dBlock, dV)
        dnnl
          .product({ m: rows, k: size, n: keys, a: { stride: width }, b: { stride, transposed: true }, c: keys })
          .run(dBlock, v, address(dScores))
        dnnl.softmaxGradient(rows, keys).run(address(scores), address(dScores), address(dScores))
        dnnl.product({ ...back, b: { stride: size }, c: size, ...plus }).run(address(dScores), at(q, from), at(dK))
        dnnl
          .product({ m: rows, k: keys, n: size, a: { stride: keys }, b: { stride: size }, c: size })
          .run(address(dScores), at(k), at(dQ, from))
      })
    }
    return {
      tasks: heads.tasks,
      run(task) {
        heads.gather(heads.place(qkv, task, 0), q, scale)
        heads.gather(heads.place(qkv, task, 1), k, 1)
        const { sample, head: first } = heads.start(task)
        for (let head = 0; head < together; head++) {
          const v = address(heads.place(qkv, task, 2) + 4 * head * size)
          const dV = address(heads.place(dQkv, task, 2) + 4 * head * size)
          headGradient(head, v, dV, dy.address + 4 * (sample * sequence * width + (first + head) * size))
        }
        heads.scatter(dQ, heads.place(dQkv, task, 0), scale)
        heads.scatter(dK, heads.place(dQkv, task, 1), 1)
      },
    }
  },

  work(call) {
    const shape = shapeOf(call, 1)
    return { flops: flopsOf(shape, 5), bytes: 4 * shape.batch * shape.sequence * 7 * shape.width }
  },
}
