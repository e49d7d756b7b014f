/**
 * Products of the next tokens of a few texts with quantized matrices, which may be in memories of their own.
 *
 * A task is a band of whole blocks of columns, so there are no partial sums, and additions and activations follow in the
 * same task. Every task copies its rows into the memory of the matrix and, unless weights are bfloat16, rounds them there.
 * A piece of the matrix stays in the cache of the core while all rows are multiplied with it.
 */
import * as declared from '../../../../../core/graph/kernels/quantized.ts'
import { type Bits, BLOCK, groupRows, groupsOf } from '../../../../../core/graph/quantized-layout.ts'
import { RuntimeError } from '../../../../contract/runtime.ts'
import { implement, type KernelMemory, type KernelTensor, type KernelThread } from '../../contract.ts'
import { choicesFrom } from '../chosen.ts'
import { memoryOf, PIECE_BYTES } from '../reach.ts'
import { offsetAt, widthOf } from '../rows.ts'
import { type Band, bandsIn, blockBytes } from './blocks.ts'

/** Bytes of a row of x that is rounded to int16, with its scale before it; 0 if it is not rounded. */
const roundedBytes = (bits: Bits, inner: number): number => (bits === 16 ? 0 : 16 + 2 * paddedRows(bits, inner))

const paddedRows = (bits: Bits, inner: number): number => groupRows(bits) * groupsOf(bits, inner)

/** Number of columns in the longest band, in whole blocks. */
const longest = (columns: number, threads: number): number => {
  return Math.max(...bandsIn(columns, threads).map(({ blocks }) => BLOCK * blocks))
}

/** Bytes of `rows` rows of results of a band, at the start of the scratch memory of the program. */
const resultBytes = (y: KernelTensor, rows: number, threads: number): number => 4 * rows * longest(widthOf(y), threads)

const rowsOf = ({ shape }: KernelTensor): number => shape[0] as number

/** Bytes of a row in the memory of a matrix, in whole cache lines: the rounded row, a sum for each group, and the row. */
const rowBytes = (bits: Bits, inner: number): number =>
  64 * Math.ceil((roundedBytes(bits, inner) + 4 * (groupsOf(bits, inner) + inner)) / 64)

/** Bytes of scratch memory in the memory of a matrix: `rows` rows, and as many rows of results of a band. */
const scratchBeside = (bits: Bits, rows: number, x: KernelTensor, y: KernelTensor, threads: number): number =>
  rows * (rowBytes(bits, widthOf(x)) + 4 * longest(widthOf(y), threads))

/** Byte offsets of the parts of a row. */
interface RowPlace {
  readonly rounded: number
  readonly sums: number
  readonly floats: number
}

/** Products of rows of x with bands of a matrix, in the memory of that matrix. */
class BandProduct {
  private readonly thread: KernelThread
  private readonly memory: KernelMemory
  private readonly bits: Bits
  private readonly inner: number
  /** Byte offset of the rows in the memory of the matrix. */
  private readonly first: number
  private taken = 0
  private readonly places: RowPlace[] = []

  /** @param results Bytes at the start of the scratch memory of the program that hold results. */
  constructor(thread: KernelThread, matrix: KernelTensor, bits: Bits, inner: number, results: number) {
    this.thread = thread
    this.memory = memoryOf(thread, matrix)
    if (this.memory.scratch === null) throw new RuntimeError('internal: no scratch memory beside quantized weights')
    this.bits = bits
    this.inner = inner
    this.first = this.memory.scratch + (matrix.memory === 0 ? results : 0)
  }

  /** Copies rows of x into the memory of the matrix, and rounds them. @param rows Byte offset of each row. */
  take(rows: readonly number[]): void {
    const { thread, memory, bits, inner } = this
    this.taken = rows.length
    // Indices, since iterators cost much in a task of a few microseconds.
    for (let r = 0; r < rows.length; r++) {
      const row = rows[r] as number
      const { rounded, sums, floats } = this.placeOf(r)
      memory.floats.set(thread.floats.subarray(row / 4, row / 4 + inner), floats / 4)
      if (bits === 16) continue
      memory.functions.roundRow(floats, rounded, inner, paddedRows(bits, inner))
      if (bits === 4) memory.functions.int4Sums(rounded, sums, groupsOf(bits, inner))
    }
  }

  /** Uses the rows that another product took in the same memory. */
  share({ taken }: BandProduct): void {
    this.taken = taken
  }

  /**
   * Multiplies the rows with a band.
   * @param matrix Byte offset of the matrix in its memory.
   * @param to Byte offset in the memory of the program of the results of each row.
   */
  times(matrix: number, { from, columns, blocks }: Band, to: readonly number[]): void {
    const { thread, memory, bits, inner, first, taken } = this
    const band = matrix + (from / BLOCK) * blockBytes(bits, inner)
    const results = first + taken * rowBytes(bits, inner)
    const bytes = 4 * BLOCK * blocks
    const piece = taken === 1 ? blocks : Math.max(1, Math.floor(PIECE_BYTES / blockBytes(bits, inner)))
    for (let block = 0; block < blocks; block += piece)
      for (let r = 0; r < taken; r++) {
        const to = results + r * bytes + 4 * BLOCK * block
        this.multiply(r, band + block * blockBytes(bits, inner), to, Math.min(piece, blocks - block))
      }
    for (let r = 0; r < to.length; r++) {
      const at = (results + r * bytes) / 4
      thread.floats.set(memory.floats.subarray(at, at + columns), (to[r] as number) / 4)
    }
  }

  private placeOf(r: number): RowPlace {
    const known = this.places[r]
    if (known) return known
    const { bits, inner, first } = this
    const rounded = first + r * rowBytes(bits, inner)
    const sums = rounded + roundedBytes(bits, inner)
    const place = { rounded, sums, floats: sums + 4 * groupsOf(bits, inner) }
    this.places[r] = place
    return place
  }

  private multiply(r: number, w: number, to: number, blocks: number): void {
    const { memory, bits, inner } = this
    const { rounded, sums, floats } = this.placeOf(r)
    const groups = groupsOf(bits, inner)
    if (bits === 16) memory.functions.bf16Times(floats, w, to, blocks, inner)
    else if (bits === 4) memory.functions.int4Times(rounded, sums, w, to, blocks, groups)
    else memory.functions.int8Times(rounded, w, to, blocks, groups)
  }
}

/** Writes the addend to a band of a row of y, or zeros; returns the offset of the band. */
function startBand(
  y: KernelTensor,
  addend: KernelTensor | undefined,
  floats: Float32Array,
  row: number,
  { from, columns }: Band,
): number {
  const first = row * widthOf(y) + from
  const to = offsetAt(y, first)
  if (!addend) floats.fill(0, to / 4, to / 4 + columns)
  else if (addend.offset !== y.offset)
    floats.copyWithin(to / 4, offsetAt(addend, first) / 4, offsetAt(addend, first) / 4 + columns)
  return to
}

/** The offset of the matrix of the expert of a choice. */
const matrixOf = ({ integers }: KernelThread, experts: KernelTensor, choice: number, matrices: KernelTensor): number =>
  offsetAt(matrices, (integers[experts.offset / 4 + choice] as number) * widthOf(matrices))

/** Operations and bytes of products with `chosen` of the matrices. */
const workOf = ({ size, shape }: KernelTensor, chosen: number) => {
  const bytes = (4 * size * chosen) / (shape[0] ?? 1)
  return { flops: 2 * bytes, bytes }
}

export const quantizedProduct = implement(declared.quantizedProduct, {
  provider: 'WASM',
  anywhere: ['w'],
  scratch: ({ inputs: { x }, outputs: { y }, attributes: { bits } }, threads) =>
    resultBytes(y, rowsOf(x), threads) + scratchBeside(bits, rowsOf(x), x, y, threads),
  scratchBeside: ({ inputs: { x }, outputs: { y }, attributes: { bits } }, threads) =>
    scratchBeside(bits, rowsOf(x), x, y, threads),
  prepare({ inputs: { x, w }, outputs: { y }, attributes: { bits }, addends }, thread) {
    const bands = bandsIn(widthOf(y), thread.threads)
    const rows = offsetsOf(offsetAt(x), rowsOf(x), 4 * widthOf(x))
    const product = new BandProduct(thread, w, bits, widthOf(x), resultBytes(y, rows.length, thread.threads))
    const results = offsetsOf(thread.scratch.offset, rows.length, 4 * longest(widthOf(y), thread.threads))
    return {
      tasks: bands.length,
      run(task) {
        const band = bands[task] as Band
        product.take(rows)
        product.times(w.offset, band, results)
        for (let row = 0; row < results.length; row++) {
          const to = startBand(y, addends.y, thread.floats, row, band)
          thread.functions.addTimes(to, results[row] as number, 1, band.columns)
        }
      },
    }
  },
  work: ({ inputs: { w } }) => workOf(w, 1),
})

/** `count` offsets from the first one on, each `bytes` after the one before. */
const offsetsOf = (first: number, count: number, bytes: number): readonly number[] =>
  Array.from({ length: count }, (_, i) => first + i * bytes)

/** A task is a band of an expert, for all choices of it; the tasks of its later choices do nothing. */
export const quantizedExpertsUp = implement(declared.quantizedExpertsUp, {
  provider: 'WASM',
  anywhere: ['up', 'gate'],
  scratch: ({ inputs: { x }, outputs: { active }, attributes: { bits } }, threads) =>
    resultBytes(active, 2 * rowsOf(x), threads) + scratchBeside(bits, rowsOf(x), x, active, threads),
  scratchBeside: ({ inputs: { x }, outputs: { active }, attributes: { bits } }, threads) =>
    scratchBeside(bits, rowsOf(x), x, active, threads),
  prepare({ inputs: { x, experts, up, gate }, outputs: { active: y }, attributes: { bits } }, thread) {
    const [rows, inner, columns] = [rowsOf(x), widthOf(x), widthOf(y)]
    const choicesPerRow = experts.size / rows
    const bands = bandsIn(columns, thread.threads)
    const { functions } = thread
    const before = resultBytes(y, 2 * rows, thread.threads)
    const ofUp = new BandProduct(thread, up, bits, inner, before)
    const ofGate = gate && new BandProduct(thread, gate, bits, inner, before)
    const each = 4 * longest(columns, thread.threads)
    const ups = offsetsOf(thread.scratch.offset, rows, each)
    const gates = offsetsOf(thread.scratch.offset + rows * each, rows, each)
    return {
      tasks: experts.size * bands.length,
      run(task) {
        const band = bands[task % bands.length] as Band
        const first = Math.floor(task / bands.length)
        for (const choices of choicesFrom(thread.integers, experts, first, rowsOf(up))) {
          const taken = choices.map((choice) => offsetAt(x, Math.floor(choice / choicesPerRow) * inner))
          ofUp.take(taken)
          ofUp.times(matrixOf(thread, experts, first, up), band, ups.slice(0, taken.length))
          if (gate && ofGate) {
            if (gate.memory === up.memory) ofGate.share(ofUp)
            else ofGate.take(taken)
            ofGate.times(matrixOf(thread, experts, first, gate), band, gates.slice(0, taken.length))
          }
          for (let i = 0; i < choices.length; i++) {
            const to = offsetAt(y, (choices[i] as number) * columns + band.from)
            if (gate) functions.swishParts(ups[i] as number, gates[i] as number, to, 1, band.columns, 0)
            else functions.geluParts(ups[i] as number, to, 1, band.columns, 0)
          }
        }
      },
    }
  },
  work: ({ inputs: { experts, up, gate } }) => workOf(up, (gate ? 2 : 1) * experts.size),
})

/**
 * A task is a band for all rows. The products of a row are added in the order of its choices, whichever expert is read
 * first.
 */
export const quantizedExpertsDown = implement(declared.quantizedExpertsDown, {
  provider: 'WASM',
  anywhere: ['down'],
  scratch: ({ inputs: { active, experts }, outputs: { y }, attributes: { bits } }, threads) =>
    resultBytes(y, experts.size, threads) + scratchBeside(bits, rowsOf(y), active, y, threads),
  scratchBeside: ({ inputs: { active }, outputs: { y }, attributes: { bits } }, threads) =>
    scratchBeside(bits, rowsOf(y), active, y, threads),
  prepare({ inputs: { active, experts, gates, down }, outputs: { y }, attributes: { bits }, addends }, thread) {
    const inner = widthOf(active)
    const choicesPerRow = experts.size / rowsOf(y)
    const bands = bandsIn(widthOf(y), thread.threads)
    const { floats, functions } = thread
    const product = new BandProduct(thread, down, bits, inner, resultBytes(y, experts.size, thread.threads))
    const results = offsetsOf(thread.scratch.offset, experts.size, 4 * longest(widthOf(y), thread.threads))
    return {
      tasks: bands.length,
      run(task) {
        const band = bands[task] as Band
        for (let first = 0; first < experts.size; first++)
          for (const choices of choicesFrom(thread.integers, experts, first, rowsOf(down))) {
            product.take(choices.map((choice) => offsetAt(active, choice * inner)))
            const to = choices.map((choice) => results[choice] as number)
            product.times(matrixOf(thread, experts, first, down), band, to)
          }
        for (let row = 0; row < rowsOf(y); row++) {
          const to = startBand(y, addends.y, floats, row, band)
          for (let choice = row * choicesPerRow; choice < (row + 1) * choicesPerRow; choice++)
            functions.addTimes(to, results[choice] as number, floats[gates.offset / 4 + choice] as number, band.columns)
        }
      },
    }
  },
  work: ({ inputs: { experts, down } }) => workOf(down, experts.size),
})
