/**
 * Quantized matrices in a pass over many rows: a task makes a band of a matrix, or the matrices of an expert, float32
 * before its products. The matrices may be in memories of their own.
 */
import * as declared from '../../../../../core/graph/kernels/quantized.ts'
import { type Bits, BLOCK, blocksOf, quantizedBytes } from '../../../../../core/graph/quantized-layout.ts'
import { implement, type KernelMemory, type KernelTensor, type KernelThread } from '../../contract.ts'
import { GroupRows, groupsOf, PIECE, sizesOf } from '../experts/expert-shared.ts'
import { addressAt, isHalf, rowsOf, typeOf } from '../floats.ts'
import { widthOf } from '../rows.ts'
import { type Band, bandsIn, blockBytes, memoryOf } from './blocks.ts'

/** Makes blocks of a matrix float32. A block in another memory is copied first, because functions reach one memory. */
class Expansion {
  private readonly thread: KernelThread
  private readonly memory: KernelMemory
  private readonly isElsewhere: boolean
  private readonly bits: Bits
  private readonly inner: number
  private readonly columns: number
  private readonly copy: number

  /** @param copy Byte offset of scratch memory of {@link blockBytes}. */
  constructor(thread: KernelThread, matrix: KernelTensor, bits: Bits, [inner, columns]: Size, copy: number) {
    this.thread = thread
    this.memory = memoryOf(thread, matrix)
    this.isElsewhere = matrix.memory !== 0
    this.bits = bits
    this.inner = inner
    this.columns = columns
    this.copy = copy
  }

  /** Blocks from number `from` on, of the matrix at a byte offset, to the matrix of floats at `to`. */
  blocks(matrix: number, to: number, from = 0, count = blocksOf(this.columns), transposed = false): void {
    const { bits, inner, columns } = this
    const [expand, expandColumns] = expandingFunctions(bits, this.thread.functions)
    for (let block = from; block < from + count; block++) {
      const at = this.reachable(matrix + block * blockBytes(bits, inner))
      const first = block * BLOCK
      const width = Math.min(BLOCK, columns - first)
      if (transposed) expandColumns(at, to + 4 * first * inner, inner, width)
      else expand(at, to + 4 * first, inner, width, columns)
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

/** Rows and columns of a matrix. */
type Size = readonly [inner: number, columns: number]

export const quantizedExpand = implement(declared.quantizedExpand, {
  provider: 'WASM',
  anywhere: ['w'],
  scratch: ({ attributes: { bits, inner } }) => blockBytes(bits, inner),
  prepare({ inputs: { w }, outputs: { weights }, attributes }, thread) {
    const { bits, inner, columns, transposed } = attributes
    const bands = bandsIn(columns, 4 * thread.threads)
    const expansion = new Expansion(thread, w, bits, [inner, columns], thread.scratch.offset)
    return {
      tasks: bands.length,
      run(task) {
        const { from, blocks } = bands[task] as Band
        expansion.blocks(w.offset, weights.offset, from / BLOCK, blocks, transposed === 1)
      },
    }
  },
  work: ({ inputs: { w }, outputs: { weights } }) => ({ flops: weights.size, bytes: 4 * (w.size + weights.size) }),
})

export const quantizedExpertFfn = implement(declared.quantizedExpertFfn, {
  provider: 'primitives',
  anywhere: ['up', 'gate', 'down'],
  scratch({ inputs: { rows }, attributes: { bits, hidden } }) {
    const width = widthOf(rows)
    return 4 * width * hidden + 4 * PIECE * hidden + Math.max(blockBytes(bits, width), blockBytes(bits, hidden))
  },
  prepare({ inputs, outputs: { y, inner, innerGate }, attributes: { bits, hidden } }, thread) {
    const { rows: x, sizes, up, gate, down } = inputs
    const width = widthOf(x)
    const [experts = 0] = up.shape
    const { primitives, scratch } = thread
    const floats = { address: scratch.address, offset: scratch.offset }
    const active = scratch.address + 4 * width * hidden
    const copy = scratch.offset + 4 * width * hidden + 4 * PIECE * hidden
    const groupRows = new GroupRows(sizesOf(sizes, thread), experts)
    const { groups, sources } = groupsOf(sizes, experts)
    const expand = (matrix: KernelTensor, expert: number, size: Size) => {
      const at = matrix.offset + quantizedBytes(bits, ...size) * expert
      new Expansion(thread, matrix, bits, size, copy).blocks(at, floats.offset)
    }
    return {
      tasks: groups,
      run(task) {
        const { expert, part } = groupRows.byLoad(sources, task)
        const pieces = groupRows.pieces(part * experts + expert)
        if (pieces.length === 0) return
        const widen = (matrix: KernelTensor, to: KernelTensor) => {
          expand(matrix, expert, [width, hidden])
          for (const { from, rows } of pieces)
            primitives
              .product({
                ...{ m: rows, k: width, n: hidden, c: hidden, half: isHalf(to) },
                ...{ a: rowsOf(x, width), b: { stride: hidden } },
              })
              .run(addressAt(x, from * width), floats.address, addressAt(to, from * hidden))
        }
        widen(up, inner)
        if (gate && innerGate) widen(gate, innerGate)
        expand(down, expert, [hidden, width])
        for (const { from, rows } of pieces) {
          const middle = addressAt(inner, from * hidden)
          const size = rows * hidden
          if (innerGate) {
            primitives.activation('swish', size, typeOf(inner)).run(addressAt(innerGate, from * hidden), active)
            primitives.multiply(size, typeOf(inner)).run(active, middle, active)
          } else primitives.activation('gelu', size, typeOf(inner)).run(middle, active)
          primitives
            .product({
              ...{ m: rows, k: hidden, n: width, c: width, half: isHalf(y) },
              ...{ a: rowsOf(inner, hidden), b: { stride: width } },
            })
            .run(active, floats.address, addressAt(y, from * width))
        }
      },
    }
  },
  work({ inputs: { rows, gate }, attributes: { hidden } }) {
    const flops = 2 * (gate ? 3 : 2) * rows.size * hidden
    return { flops, bytes: 4 * 2 * rows.size }
  },
})
