/**
 * Causal self-attention, a head of a sequence at a time, straight from the rows of qkv. A task's scores
 * are a few hundred kilobytes: they stay in the cache and are never written out whole. Queries go in
 * blocks, and a block looks only at the keys that it may see. The gradient computes the scores anew.
 *
 * Queries are scaled when they are rotated: softmax(q·kᵀ) of scaled q needs no further factor, nor does
 * the gradient of k, and that of q takes the factor when it is rotated back.
 */
import type { Dnnl } from '../../onednn/dnnl.ts'
import type { Kernel, KernelCall, KernelTensor, KernelThread } from '../contract.ts'

/** Queries of a block. */
const BLOCK = 128

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
}

function shapeOf({ attributes, inputs }: KernelCall, qkvAt: number): Shape {
  const { batch, sequence, heads, scale } = attributes as Record<string, number> & { scale: { float: number } }
  const stride = (inputs[qkvAt] as KernelTensor).shape.at(-1) as number
  const width = stride / 3
  return {
    batch: batch as number,
    sequence: sequence as number,
    heads: heads as number,
    size: width / (heads as number),
    scale: scale.float,
    stride,
    width,
  }
}

/** One head of one sequence, in the thread's memory: offsets of its scratch matrices, and how to fill them. */
class Head {
  readonly shape: Shape
  private readonly thread: KernelThread
  private readonly tables: readonly [cos: KernelTensor, sin: KernelTensor] | null
  private taken = 0

  constructor(shape: Shape, thread: KernelThread, tables: readonly [KernelTensor, KernelTensor] | null) {
    this.shape = shape
    this.thread = thread
    this.tables = tables
  }

  /** Offset of so many floats of scratch memory. */
  take(floats: number): number {
    const offset = this.thread.scratch.offset + this.taken
    this.taken += Math.ceil(floats / 16) * 64
    return offset
  }

  /** Offset of a token's part of the head in a tensor of rows of qkv; part 0, 1, 2 for q, k, v. */
  offset(tensor: KernelTensor, task: number, part: number): number {
    const { sequence, heads, size, stride, width } = this.shape
    const [sample, head] = [Math.floor(task / heads), task % heads]
    return tensor.offset + 4 * (sample * sequence * stride + part * width + head * size)
  }

  /** Rotates rows by their positions from `first` on (or back), times a factor. */
  rotate(from: number, fromStride: number, to: number, toStride: number, rows: number, first: number, scale: number, sign: 1 | -1): void {
    const { size } = this.shape
    const { rows: functions } = this.thread
    if (!this.tables) {
      functions.scaleRows?.(from, fromStride, to, toStride, rows, size, scale)
      return
    }
    const [cos, sin] = this.tables
    const skip = 4 * first * (size / 2)
    functions.rotate?.(from, fromStride, to, toStride, rows, size / 2, cos.offset + skip, sin.offset + skip, scale, sign)
  }

  /** Blocks of queries: where each begins, how many, and how many keys it sees. */
  blocks(): { readonly from: number; readonly rows: number; readonly keys: number }[] {
    const { sequence } = this.shape
    return Array.from({ length: Math.ceil(sequence / BLOCK) }, (_, i) => {
      const from = i * BLOCK
      const rows = Math.min(BLOCK, sequence - from)
      return { from, rows, keys: from + rows }
    })
  }

  /** softmax(q·kᵀ) of a block of scaled queries, at `scores` [rows, keys]. Arguments are offsets. */
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

  address(offset: number): number {
    const { scratch } = this.thread
    return scratch.address + (offset - scratch.offset)
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
    const { sequence, size } = shapeOf(call, 0)
    return 4 * (2 * sequence * size + BLOCK * sequence) + 256
  },

  prepare(call, thread) {
    const [qkv, cos, sin] = call.inputs as [KernelTensor, KernelTensor?, KernelTensor?]
    const [y] = call.outputs as [KernelTensor]
    const shape = shapeOf(call, 0)
    const { batch, sequence, heads, size, scale, stride, width } = shape
    const head = new Head(shape, thread, cos && sin ? [cos, sin] : null)
    const [q, k, scores] = [head.take(sequence * size), head.take(sequence * size), head.take(BLOCK * sequence)]
    const blocks = head.blocks()
    return {
      tasks: batch * heads,
      run(task) {
        head.rotate(head.offset(qkv, task, 0), stride, q, size, sequence, 0, scale, 1)
        head.rotate(head.offset(qkv, task, 1), stride, k, size, sequence, 0, 1, 1)
        const v = head.address(head.offset(qkv, task, 2))
        const sample = Math.floor(task / heads)
        for (const { from, rows, keys } of blocks) {
          head.share(q + 4 * from * size, k, scores, rows, from)
          head.dnnl
            .product({ m: rows, k: keys, n: size, a: { stride: keys }, b: { stride }, c: width })
            .run(head.address(scores), v, y.address + 4 * ((sample * sequence + from) * width + (task % heads) * size))
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
    const { sequence, size } = shapeOf(call, 1)
    return 4 * (3 * sequence * size + 2 * BLOCK * sequence + BLOCK * size) + 512
  },

  prepare(call, thread) {
    const [dy, qkv, cos, sin] = call.inputs as [KernelTensor, KernelTensor, KernelTensor?, KernelTensor?]
    const [dQkv] = call.outputs as [KernelTensor]
    const shape = shapeOf(call, 1)
    const { batch, sequence, heads, size, scale, stride, width } = shape
    const head = new Head(shape, thread, cos && sin ? [cos, sin] : null)
    const [q, k, dK] = [head.take(sequence * size), head.take(sequence * size), head.take(sequence * size)]
    const [scores, dScores] = [head.take(BLOCK * sequence), head.take(BLOCK * sequence)]
    const dQ = head.take(BLOCK * size)
    // The last block sees all keys: it writes what the others add to.
    const blocks = head.blocks().toReversed()
    const address = (offset: number) => head.address(offset)
    return {
      tasks: batch * heads,
      run(task) {
        const { dnnl } = head
        head.rotate(head.offset(qkv, task, 0), stride, q, size, sequence, 0, scale, 1)
        head.rotate(head.offset(qkv, task, 1), stride, k, size, sequence, 0, 1, 1)
        const v = address(head.offset(qkv, task, 2))
        const dV = address(head.offset(dQkv, task, 2))
        const sample = Math.floor(task / heads)
        blocks.forEach(({ from, rows, keys }, i) => {
          const plus = i === 0 ? {} : { plus: 'c' as const }
          const dOut = dy.address + 4 * ((sample * sequence + from) * width + (task % heads) * size)
          head.share(q + 4 * from * size, k, scores, rows, from)
          dnnl
            .product({ m: keys, k: rows, n: size, a: { stride: keys, transposed: true }, b: { stride: width }, c: stride, ...plus })
            .run(address(scores), dOut, dV)
          dnnl
            .product({ m: rows, k: size, n: keys, a: { stride: width }, b: { stride, transposed: true }, c: keys })
            .run(dOut, v, address(dScores))
          dnnl.softmaxGradient(rows, keys).run(address(scores), address(dScores), address(dScores))
          dnnl
            .product({ m: keys, k: rows, n: size, a: { stride: keys, transposed: true }, b: { stride: size }, c: size, ...plus })
            .run(address(dScores), address(q + 4 * from * size), address(dK))
          dnnl
            .product({ m: rows, k: keys, n: size, a: { stride: keys }, b: { stride: size }, c: size })
            .run(address(dScores), address(k), address(dQ))
          head.rotate(dQ, size, head.offset(dQkv, task, 0) + 4 * from * stride, stride, rows, from, scale, -1)
        })
        head.rotate(dK, size, head.offset(dQkv, task, 1), stride, sequence, 0, 1, -1)
      },
    }
  },

  work(call) {
    const shape = shapeOf(call, 1)
    return { flops: flopsOf(shape, 5), bytes: 4 * shape.batch * shape.sequence * 7 * shape.width }
  },
}
