/**
 * Products of many rows with quantized matrices, as in a prompt or an evaluation. A few columns of a matrix are expanded
 * at a time, and multiplied with all rows while they are in the cache of the core.
 *
 * If the CPU multiplies bfloat16, columns and rows are rounded to it, which makes products about twice as fast: a weight
 * changes by at most 2⁻⁹ of itself, less than by its own rounding to 8 or 4 bits. Otherwise columns become float32.
 * Matrices may be in memories of their own.
 */
import * as declared from '../../../../../core/graph/kernels/quantized.ts'
import { type Bits, BLOCK, quantizedBytes } from '../../../../../core/graph/quantized-layout.ts'
import { packedBytes, packedRows, STRIPE } from '../../../primitives/primitives.ts'
import { implement, type KernelMemory, type KernelTensor, type KernelThread, type Scratch } from '../../contract.ts'
import { GroupRows, groupsOf, PIECE, sizesOf } from '../experts/expert-shared.ts'
import { addressAt } from '../floats.ts'
import { bandsOf } from '../matmul.ts'
import { memoryOf } from '../reach.ts'
import { widthOf } from '../rows.ts'
import { blockBytes } from './blocks.ts'

/** Columns that are expanded at a time, as bfloat16 and as float32: half a megabyte or one, for 2,048 or 1,024 rows. */
const PACKED_COLUMNS = 2 * STRIPE
const FLOAT_COLUMNS = 16 * BLOCK

/** Columns of a matrix. */
interface Columns {
  readonly from: number
  readonly length: number
}

/** Multiplies rows with quantized matrices. */
class RowsProduct {
  private readonly thread: KernelThread
  private readonly bits: Bits
  private rows = 0
  private inner = 0
  /** Address of the rows. */
  private at = 0
  /** Places in the scratch memory: expanded columns, a block of another memory, and rounded rows or results. */
  private readonly block: number
  private readonly rest: number

  /** @param inner The largest number of rows of a matrix. */
  constructor(thread: KernelThread, bits: Bits, inner: number) {
    this.thread = thread
    this.bits = bits
    this.block = RowsProduct.expandedBytes(inner)
    this.rest = this.block + 64 * Math.ceil(blockBytes(bits, inner) / 64)
  }

  /** Bytes of the scratch memory of a thread. */
  static scratch(bits: Bits, inner: number): number {
    const rest = PIECE * Math.max(2 * inner + 4, 4 * FLOAT_COLUMNS) + 4
    return RowsProduct.expandedBytes(inner) + 64 * Math.ceil(blockBytes(bits, inner) / 64) + rest
  }

  private static expandedBytes(inner: number): number {
    return Math.max(packedBytes(inner, PACKED_COLUMNS), 4 * FLOAT_COLUMNS * inner)
  }

  /** Takes rows [rows, inner] of float32 at an address, at most {@link PIECE}. They must not change until their products. */
  take(address: number, rows: number, inner: number): void {
    const { primitives, scratch } = this.thread
    this.rows = rows
    this.inner = inner
    this.at = address
    if (!primitives.packs) return
    this.at = scratch.address + this.rest
    primitives.round(rows, inner, inner).run(address, this.at)
  }

  /**
   * Writes alpha · rows · w, for columns of w, to the same columns of rows of `stride` floats.
   * @param matrix Byte offset of w in the memory of `tensor`.
   * @param to The first row, in the memory of the program.
   */
  times(tensor: KernelTensor, matrix: number, { from, length }: Columns, to: Scratch, stride: number, alpha = 1): void {
    const { primitives } = this.thread
    const most = primitives.packs ? PACKED_COLUMNS : FLOAT_COLUMNS
    for (let first = from; first < from + length; first += most) {
      const columns = Math.min(most, from + length - first)
      if (primitives.packs) this.pack(tensor, matrix, first, columns)
      else this.expand(tensor, matrix, first, columns)
      this.multiply(placeAfter(to, first), columns, stride, alpha)
    }
  }

  /** Writes columns as a packed matrix (`Primitives.productOfPacked`) to the start of the scratch memory. */
  private pack(tensor: KernelTensor, matrix: number, first: number, columns: number): void {
    const { functions, scratch, floats } = this.thread
    const { bits, inner } = this
    const pack = bits === 16 ? functions.bf16Pack : bits === 8 ? functions.int8Pack : functions.int4Pack
    const stripe = 2 * packedRows(inner) * STRIPE
    // oneDNN requires zeros in the padding of the last stripe.
    if (columns % STRIPE !== 0) floats.fill(0, scratch.offset / 4, (scratch.offset + packedBytes(inner, columns)) / 4)
    for (let column = 0; column < columns; column += BLOCK) {
      const at = Math.floor(column / STRIPE) * stripe + 4 * (column % STRIPE)
      pack(this.reachable(tensor, matrix, first + column), scratch.offset + at, inner)
    }
  }

  /** Writes columns as floats [inner, columns] to the start of the scratch memory. */
  private expand(tensor: KernelTensor, matrix: number, first: number, columns: number): void {
    const { functions, scratch } = this.thread
    const { bits, inner } = this
    const expand = bits === 16 ? functions.bf16Expand : bits === 8 ? functions.int8Expand : functions.int4Expand
    for (let column = 0; column < columns; column += BLOCK) {
      const block = this.reachable(tensor, matrix, first + column)
      expand(block, scratch.offset + 4 * column, inner, Math.min(BLOCK, columns - column), columns)
    }
  }

  /** The byte offset of the block of a column, which is copied if it is in another memory: functions reach one. */
  private reachable(tensor: KernelTensor, matrix: number, column: number): number {
    const { thread, bits, inner } = this
    const bytes = blockBytes(bits, inner)
    const at = matrix + (column / BLOCK) * bytes
    if (tensor.memory === 0) return at
    const to = thread.scratch.offset + this.block
    const own = (thread.memories[0] as KernelMemory).bytes
    own.set(memoryOf(thread, tensor).bytes.subarray(at, at + bytes), to)
    return to
  }

  /** Multiplies the rows with the expanded columns. @param to The place of the first result. */
  private multiply(to: Scratch, columns: number, stride: number, alpha: number): void {
    const { thread, rows: m, inner: k, at } = this
    const { primitives, scratch } = thread
    // oneDNN misreads a single column with gaps, and other libraries write no rows with gaps: results are copied.
    const isCopied = columns < stride && (!primitives.stridedResults || columns === 1)
    const spec = { m, k, n: columns, c: isCopied ? columns : stride, alpha }
    const product = primitives.packs
      ? primitives.productOfPacked(spec)
      : primitives.product({ ...spec, a: { stride: k }, b: { stride: columns } })
    // A single column is copied from the place after the rows, which has room for it.
    const results = this.rest + (primitives.packs ? 4 * Math.ceil((m * k) / 2) : 0)
    product.run(at, scratch.address, isCopied ? scratch.address + results : to.address)
    if (!isCopied) return
    const from = (scratch.offset + results) / 4
    const first = to.offset / 4
    for (let row = 0; row < m; row++)
      thread.floats.copyWithin(first + row * stride, from + row * columns, from + (row + 1) * columns)
  }
}

/** The place `floats` floats after another one. */
const placeAfter = ({ address, offset }: Scratch, floats: number): Scratch => ({
  address: address + 4 * floats,
  offset: offset + 4 * floats,
})

/** Rows of x, at most {@link PIECE} at a time. */
const piecesOf = (rows: number): { readonly from: number; readonly length: number }[] =>
  bandsOf(rows, Math.ceil(rows / PIECE), 1)

/** Tasks for each thread, so that no thread waits long for another. Each rounds all rows. */
const TASKS_OF_THREAD = 2

export const quantizedMatmul = implement(declared.quantizedMatmul, {
  provider: 'primitives',
  anywhere: ['w'],
  scratch: ({ inputs: { x }, attributes: { bits } }) => RowsProduct.scratch(bits, widthOf(x)),
  prepare({ inputs: { x, w }, outputs: { y }, attributes: { bits, alpha } }, thread) {
    const inner = widthOf(x)
    const pieces = piecesOf(x.shape[0] as number)
    const columns = widthOf(y)
    const bands = bandsOf(columns, TASKS_OF_THREAD * thread.threads, STRIPE)
    const product = new RowsProduct(thread, bits, inner)
    return {
      tasks: bands.length,
      run(task) {
        for (const { from, length } of pieces) {
          product.take(addressAt(x, from * inner), length, inner)
          product.times(w, w.offset, bands[task] as Columns, placeAfter(y, from * columns), columns, alpha.float)
        }
      },
    }
  },
  work({ inputs: { x, w }, outputs: { y } }) {
    return { flops: 2 * x.size * widthOf(y), bytes: 4 * (x.size + w.size + y.size) }
  },
})

export const quantizedExpertFfn = implement(declared.quantizedExpertFfn, {
  provider: 'primitives',
  anywhere: ['up', 'gate', 'down'],
  scratch({ inputs: { rows, gate }, attributes: { bits, hidden } }) {
    return (gate ? 2 : 1) * 4 * PIECE * hidden + RowsProduct.scratch(bits, Math.max(widthOf(rows), hidden))
  },
  prepare({ inputs, outputs: { y }, attributes: { bits, hidden } }, thread) {
    const { rows: x, sizes, up, gate, down } = inputs
    const width = widthOf(x)
    const [experts = 0] = up.shape
    const { primitives } = thread
    const product = new RowsProduct(thread, bits, Math.max(width, hidden))
    const inner = placeAfter(thread.scratch, RowsProduct.scratch(bits, Math.max(width, hidden)) / 4)
    const innerGate = placeAfter(inner, PIECE * hidden)
    const groupRows = new GroupRows(sizesOf(sizes, thread), experts)
    const { groups, sources } = groupsOf(sizes, experts)
    const all = (length: number): Columns => ({ from: 0, length })
    return {
      tasks: groups,
      run(task) {
        const { expert, part } = groupRows.byLoad(sources, task)
        const of = (matrix: KernelTensor, rows: number, columns: number) =>
          matrix.offset + quantizedBytes(bits, rows, columns) * expert
        // Columns are expanded again for each piece: that is little beside the products of its rows.
        for (const { from, rows } of groupRows.pieces(part * experts + expert)) {
          const size = rows * hidden
          product.take(addressAt(x, from * width), rows, width)
          product.times(up, of(up, width, hidden), all(hidden), inner, hidden)
          if (gate) {
            product.times(gate, of(gate, width, hidden), all(hidden), innerGate, hidden)
            primitives.activation('swish', size).run(innerGate.address, innerGate.address)
            primitives.multiply(size).run(inner.address, innerGate.address, inner.address)
          } else primitives.activation('gelu', size).run(inner.address, inner.address)
          product.take(inner.address, rows, hidden)
          // y may be x, whose rows of this piece are not read again.
          product.times(down, of(down, hidden, width), all(width), placeAfter(y, from * width), width)
        }
      },
    }
  },
  work({ inputs: { rows, gate }, attributes: { hidden } }) {
    const flops = 2 * (gate ? 3 : 2) * rows.size * hidden
    return { flops, bytes: 4 * 2 * rows.size }
  },
})
