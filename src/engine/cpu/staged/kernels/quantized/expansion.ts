/**
 * Quantized matrices in a pass over many rows: a task makes a band of a matrix, or one band after the other of an
 * expert's matrices, float32 before its products. The matrices may be in memories of their own.
 */
import * as declared from '../../../../../core/graph/kernels/quantized.ts'
import { type Bits, BLOCK, blocksOf, quantizedBytes } from '../../../../../core/graph/quantized-layout.ts'
import { implement, type KernelMemory, type KernelTensor, type KernelThread } from '../../contract.ts'
import { GroupRows, groupsOf, PIECE, type Piece, sizesOf } from '../experts/expert-shared.ts'
import { addressAt, elementBytes, isHalf, rowsOf, typeOf } from '../floats.ts'
import { memoryOf } from '../reach.ts'
import { widthOf } from '../rows.ts'
import { type Band, bandsIn, blockBytes } from './blocks.ts'

/** Makes blocks of a matrix float32. A block in another memory is copied first, because functions reach one memory. */
class Expansion {
  private readonly thread: KernelThread
  private readonly memory: KernelMemory
  private readonly isElsewhere: boolean
  private readonly bits: Bits
  private readonly inner: number
  private readonly copy: number

  /** @param copy Byte offset of scratch memory of {@link blockBytes}. */
  constructor(thread: KernelThread, matrix: KernelTensor, bits: Bits, inner: number, copy: number) {
    this.thread = thread
    this.memory = memoryOf(thread, matrix)
    this.isElsewhere = matrix.memory !== 0
    this.bits = bits
    this.inner = inner
    this.copy = copy
  }

  /**
   * Writes a band of the matrix at a byte offset as floats to `to`, in rows of `stride` floats.
   * @param stride Null writes column by column, each of all rows.
   */
  band(matrix: number, { from, columns, blocks }: Band, to: number, stride: number | null): void {
    const { bits, inner } = this
    const [expand, expandColumns] = expandingFunctions(bits, this.thread.functions)
    for (let block = 0; block < blocks; block++) {
      const at = this.reachable(matrix + (from / BLOCK + block) * blockBytes(bits, inner))
      const first = block * BLOCK
      const width = Math.min(BLOCK, columns - first)
      if (stride === null) expandColumns(at, to + 4 * first * inner, inner, width)
      else expand(at, to + 4 * first, inner, width, stride)
    }
  }

  private reachable(block: number): number {
    if (!this.isElsewhere) return block
    const { memory, thread, bits, inner, copy } = this
    const { bytes } = thread.memories[0] as KernelMemory
    bytes.set(memory.bytes.subarray(block, block + blockBytes(bits, inner)), copy)
    return copy
  }
}

function expandingFunctions(bits: Bits, functions: KernelThread['functions']) {
  if (bits === 16) return [functions.bf16Expand, functions.bf16ExpandColumns] as const
  if (bits === 8) return [functions.int8Expand, functions.int8ExpandColumns] as const
  return [functions.int4Expand, functions.int4ExpandColumns] as const
}

export const quantizedExpand = implement(declared.quantizedExpand, {
  provider: 'WASM',
  anywhere: ['w'],
  scratch: ({ attributes: { bits, inner } }) => blockBytes(bits, inner),
  prepare({ inputs: { w }, outputs: { weights }, attributes }, thread) {
    const { bits, inner, columns, transposed } = attributes
    const bands = bandsIn(columns, 4 * thread.threads)
    const expansion = new Expansion(thread, w, bits, inner, thread.scratch.offset)
    return {
      tasks: bands.length,
      run(task) {
        const band = bands[task] as Band
        if (transposed) expansion.band(w.offset, band, weights.offset + 4 * band.from * inner, null)
        else expansion.band(w.offset, band, weights.offset + 4 * band.from, columns)
      },
    }
  },
  work: ({ inputs: { w }, outputs: { weights } }) => ({ flops: weights.size, bytes: 4 * (w.size + weights.size) }),
})

/** Columns of an expert's matrix that are float32 at a time: a megabyte for 1,024 rows, which stays in the cache. */
const BAND = 16 * BLOCK

const bandsOfColumns = (columns: number): Band[] =>
  Array.from({ length: Math.ceil(columns / BAND) }, (_, i) => {
    const width = Math.min(BAND, columns - i * BAND)
    return { from: i * BAND, columns: width, blocks: blocksOf(width) }
  })

/** Bytes of the largest band of matrices [width, hidden] and [hidden, width] as floats. */
const floatBytes = (width: number, hidden: number): number =>
  4 * Math.max(width * Math.min(BAND, hidden), hidden * Math.min(BAND, width))

export const quantizedExpertFfn = implement(declared.quantizedExpertFfn, {
  provider: 'primitives',
  anywhere: ['up', 'gate', 'down'],
  scratch({ inputs: { rows }, attributes: { bits, hidden } }) {
    const width = widthOf(rows)
    const block = Math.max(blockBytes(bits, width), blockBytes(bits, hidden))
    return floatBytes(width, hidden) + 4 * PIECE * (hidden + BAND) + block
  },
  prepare({ inputs, outputs: { y, inner, innerGate }, attributes: { bits, hidden } }, thread) {
    const { rows: x, sizes, up, gate, down } = inputs
    const width = widthOf(x)
    const [experts = 0] = up.shape
    const { primitives, scratch } = thread
    const active = scratch.address + floatBytes(width, hidden)
    const results = floatBytes(width, hidden) + 4 * PIECE * hidden
    const copy = scratch.offset + results + 4 * PIECE * BAND
    const { bytes } = thread.memories[0] as KernelMemory
    const groupRows = new GroupRows(sizesOf(sizes, thread), experts)
    const { groups, sources } = groupsOf(sizes, experts)
    /** Makes one band after the other of an expert's matrix [inner, columns] float32, at the start of the scratch memory. */
    const forBands = (
      matrix: KernelTensor,
      expert: number,
      inner: number,
      columns: number,
      use: (band: Band) => void,
    ) => {
      const expansion = new Expansion(thread, matrix, bits, inner, copy)
      const at = matrix.offset + quantizedBytes(bits, inner, columns) * expert
      for (const band of bandsOfColumns(columns)) {
        expansion.band(at, band, scratch.offset, band.columns)
        use(band)
      }
    }
    /**
     * Multiplies rows at an address with the band at the start of the scratch memory, and writes the columns of the band
     * of `to` [.., stride] from row `from` on. A library that cannot write rows with gaps writes them without.
     */
    const multiply = (
      at: number,
      a: KernelTensor,
      k: number,
      { from: first, columns }: Band,
      to: KernelTensor,
      stride: number,
      { from, rows }: Piece,
    ) => {
      const hasGaps = columns < stride
      const isCopied = hasGaps && (!primitives.stridedResults || columns === 1)
      const size = elementBytes(to)
      primitives
        .product({
          ...{ m: rows, k, n: columns, c: isCopied ? columns : stride, half: isHalf(to) },
          ...{ a: rowsOf(a, k), b: { stride: columns } },
        })
        .run(at, scratch.address, isCopied ? scratch.address + results : addressAt(to, from * stride + first))
      if (!isCopied) return
      for (let row = 0; row < rows; row++) {
        const source = scratch.offset + results + size * row * columns
        bytes.copyWithin(to.offset + size * ((from + row) * stride + first), source, source + size * columns)
      }
    }
    return {
      tasks: groups,
      run(task) {
        const { expert, part } = groupRows.byLoad(sources, task)
        const pieces = groupRows.pieces(part * experts + expert)
        if (pieces.length === 0) return
        const widen = (matrix: KernelTensor, to: KernelTensor) =>
          forBands(matrix, expert, width, hidden, (band) => {
            for (const piece of pieces) multiply(addressAt(x, piece.from * width), x, width, band, to, hidden, piece)
          })
        widen(up, inner)
        if (gate && innerGate) widen(gate, innerGate)
        // Bands are expanded again for each piece: that is little beside the products of its rows.
        for (const piece of pieces) {
          const { from, rows } = piece
          const middle = addressAt(inner, from * hidden)
          const size = rows * hidden
          if (innerGate) {
            primitives.activation('swish', size, typeOf(inner)).run(addressAt(innerGate, from * hidden), active)
            primitives.multiply(size, typeOf(inner)).run(active, middle, active)
          } else primitives.activation('gelu', size, typeOf(inner)).run(middle, active)
          forBands(down, expert, hidden, width, (band) => multiply(active, inner, hidden, band, y, width, piece))
        }
      },
    }
  },
  work({ inputs: { rows, gate }, attributes: { hidden } }) {
    const flops = 2 * (gate ? 3 : 2) * rows.size * hidden
    return { flops, bytes: 4 * 2 * rows.size }
  },
})
