/**
 * Products of a single token with quantized matrices, which may be in memories of their own.
 *
 * A task is a band of whole blocks of columns, so there are no partial sums, and additions and activations follow in the
 * same task. Every task copies the row into the memory of the matrix and, unless weights are bfloat16, rounds it there.
 */
import * as declared from '../../../../../core/graph/kernels/quantized.ts'
import { type Bits, BLOCK, groupRows, groupsOf } from '../../../../../core/graph/quantized-layout.ts'
import { RuntimeError } from '../../../../contract/runtime.ts'
import { implement, type KernelMemory, type KernelTensor, type KernelThread } from '../../contract.ts'
import { memoryOf } from '../reach.ts'
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

/**
 * Bytes of scratch memory in the memory of a matrix: the rounded row, a sum for each group, the row, and a row of results
 * of a band.
 */
const scratchBeside = (bits: Bits, x: KernelTensor, y: KernelTensor, threads: number): number =>
  roundedBytes(bits, widthOf(x)) + 4 * (groupsOf(bits, widthOf(x)) + widthOf(x) + longest(widthOf(y), threads))

/** Products of a row of x with bands of a matrix, in the memory of that matrix. */
class BandProduct {
  private readonly thread: KernelThread
  private readonly memory: KernelMemory
  private readonly bits: Bits
  private readonly inner: number
  /** Byte offsets in the memory of the matrix. */
  private readonly rounded: number
  private readonly sums: number
  private readonly row: number
  private readonly results: number

  /** @param results Bytes at the start of the scratch memory of the program that hold results. */
  constructor(thread: KernelThread, matrix: KernelTensor, bits: Bits, inner: number, results: number) {
    this.thread = thread
    this.memory = memoryOf(thread, matrix)
    if (this.memory.scratch === null) throw new RuntimeError('internal: no scratch memory beside quantized weights')
    this.bits = bits
    this.inner = inner
    this.rounded = this.memory.scratch + (matrix.memory === 0 ? results : 0)
    this.sums = this.rounded + roundedBytes(bits, inner)
    this.row = this.sums + 4 * groupsOf(bits, inner)
    this.results = this.row + 4 * inner
  }

  /** Copies a row of x into the memory of the matrix, and rounds it. @param row Byte offset of the row. */
  take(row: number): void {
    const { thread, memory, bits, inner, rounded, sums } = this
    memory.floats.set(thread.floats.subarray(row / 4, row / 4 + inner), this.row / 4)
    if (bits === 16) return
    memory.functions.roundRow(this.row, rounded, inner, paddedRows(bits, inner))
    if (bits === 4) memory.functions.int4Sums(rounded, sums, groupsOf(bits, inner))
  }

  /**
   * Multiplies the row with a band.
   * @param matrix Byte offset of the matrix in its memory.
   * @param to Byte offset of the results in the memory of the program.
   */
  times(matrix: number, { from, columns, blocks }: Band, to: number): void {
    const { thread, memory, bits, inner, rounded, sums, results } = this
    const groups = groupsOf(bits, inner)
    const band = matrix + (from / BLOCK) * blockBytes(bits, inner)
    if (bits === 16) memory.functions.bf16Times(this.row, band, results, blocks, inner)
    else if (bits === 4) memory.functions.int4Times(rounded, sums, band, results, blocks, groups)
    else memory.functions.int8Times(rounded, band, results, blocks, groups)
    thread.floats.set(memory.floats.subarray(results / 4, results / 4 + columns), to / 4)
  }
}

/** Writes the addend to a band of y, or zeros; returns the offset of the band. */
function startBand(
  y: KernelTensor,
  addend: KernelTensor | undefined,
  floats: Float32Array,
  { from, columns }: Band,
): number {
  const to = offsetAt(y, from)
  if (!addend) floats.fill(0, to / 4, to / 4 + columns)
  else if (addend.offset !== y.offset)
    floats.copyWithin(to / 4, offsetAt(addend, from) / 4, offsetAt(addend, from) / 4 + columns)
  return to
}

/** The offset of the matrix of a chosen expert. @throws RuntimeError if the layer has no such expert */
function matrixOf({ integers }: KernelThread, experts: KernelTensor, choice: number, matrices: KernelTensor): number {
  const [count = 0, words = 0] = matrices.shape
  const expert = integers[experts.offset / 4 + choice] as number
  if (!(expert >= 0 && expert < count))
    throw new RuntimeError(`invalid expert: ${expert} (expected one of the ${count} of the layer)`)
  return offsetAt(matrices, expert * words)
}

/** Operations and bytes of products with `chosen` of the matrices. */
const workOf = ({ size, shape }: KernelTensor, chosen: number) => {
  const bytes = (4 * size * chosen) / (shape[0] ?? 1)
  return { flops: 2 * bytes, bytes }
}

export const quantizedProduct = implement(declared.quantizedProduct, {
  provider: 'WASM',
  anywhere: ['w'],
  scratch: ({ inputs: { x }, outputs: { y }, attributes: { bits } }, threads) =>
    resultBytes(y, 1, threads) + scratchBeside(bits, x, y, threads),
  scratchBeside: ({ inputs: { x }, outputs: { y }, attributes: { bits } }, threads) =>
    scratchBeside(bits, x, y, threads),
  prepare({ inputs: { x, w }, outputs: { y }, attributes: { bits }, addends }, thread) {
    const bands = bandsIn(widthOf(y), thread.threads)
    const product = new BandProduct(thread, w, bits, x.size, resultBytes(y, 1, thread.threads))
    const results = thread.scratch.offset
    return {
      tasks: bands.length,
      run(task) {
        const band = bands[task] as Band
        product.take(x.offset)
        product.times(w.offset, band, results)
        thread.functions.addTimes(startBand(y, addends.y, thread.floats, band), results, 1, band.columns)
      },
    }
  },
  work: ({ inputs: { w } }) => workOf(w, 1),
})

export const quantizedExpertsUp = implement(declared.quantizedExpertsUp, {
  provider: 'WASM',
  anywhere: ['up', 'gate'],
  scratch: ({ inputs: { x }, outputs: { active }, attributes: { bits } }, threads) =>
    resultBytes(active, 2, threads) + scratchBeside(bits, x, active, threads),
  scratchBeside: ({ inputs: { x }, outputs: { active }, attributes: { bits } }, threads) =>
    scratchBeside(bits, x, active, threads),
  prepare({ inputs: { x, experts, up, gate }, outputs: { active: y }, attributes: { bits } }, thread) {
    const columns = widthOf(y)
    const bands = bandsIn(columns, thread.threads)
    const { functions } = thread
    const before = resultBytes(y, 2, thread.threads)
    const [ofUp, ofGate] = [up, gate].map((matrix) => matrix && new BandProduct(thread, matrix, bits, x.size, before))
    const inner = thread.scratch.offset
    const gates = inner + 4 * longest(columns, thread.threads)
    return {
      tasks: experts.size * bands.length,
      run(task) {
        const choice = Math.floor(task / bands.length)
        const band = bands[task % bands.length] as Band
        const to = offsetAt(y, choice * columns + band.from)
        ofUp?.take(x.offset)
        ofUp?.times(matrixOf(thread, experts, choice, up), band, inner)
        if (!gate || !ofGate) return functions.geluParts(inner, to, 1, band.columns, 0)
        if (gate.memory !== up.memory) ofGate.take(x.offset)
        ofGate.times(matrixOf(thread, experts, choice, gate), band, gates)
        functions.swishParts(inner, gates, to, 1, band.columns, 0)
      },
    }
  },
  work: ({ inputs: { experts, up, gate } }) => workOf(up, (gate ? 2 : 1) * experts.size),
})

export const quantizedExpertsDown = implement(declared.quantizedExpertsDown, {
  provider: 'WASM',
  anywhere: ['down'],
  scratch: ({ inputs: { active }, outputs: { y }, attributes: { bits } }, threads) =>
    resultBytes(y, 1, threads) + scratchBeside(bits, active, y, threads),
  scratchBeside: ({ inputs: { active }, outputs: { y }, attributes: { bits } }, threads) =>
    scratchBeside(bits, active, y, threads),
  prepare({ inputs: { active, experts, gates, down }, outputs: { y }, attributes: { bits }, addends }, thread) {
    const inner = widthOf(active)
    const bands = bandsIn(widthOf(y), thread.threads)
    const { floats, functions } = thread
    const product = new BandProduct(thread, down, bits, inner, resultBytes(y, 1, thread.threads))
    const results = thread.scratch.offset
    return {
      tasks: bands.length,
      run(task) {
        const band = bands[task] as Band
        const to = startBand(y, addends.y, floats, band)
        for (let choice = 0; choice < experts.size; choice++) {
          product.take(offsetAt(active, choice * inner))
          product.times(matrixOf(thread, experts, choice, down), band, results)
          functions.addTimes(to, results, floats[gates.offset / 4 + choice] as number, band.columns)
        }
      },
    }
  },
  work: ({ inputs: { experts, down } }) => workOf(down, experts.size),
})
