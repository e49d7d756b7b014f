/**
 * Kernels of a single token with int8 matrices. A task is a band of whole blocks of columns, so there are no partial
 * sums, and additions and activations follow in the same task. Every task rounds the row for itself.
 */
import { BLOCK, blocksOf, GROUP, GROUP_BYTES, groupsOf } from '../../../../core/graph/int8-layout.ts'
import * as declared from '../../../../core/graph/kernels/token.ts'
import { RuntimeError } from '../../../contract/runtime.ts'
import { implement, type KernelTensor, type KernelThread } from '../contract.ts'
import { bandsOf } from './matmul.ts'
import { offsetAt, widthOf } from './rows.ts'

/** Bytes of a row of x that is rounded to int16, with its scale before it. */
const roundedBytes = (inner: number): number => 16 + 2 * GROUP * groupsOf(inner)

/** Number of columns in the longest band, in whole blocks. */
const longest = (columns: number, threads: number): number => {
  return Math.max(...bandsIn(columns, threads).map(({ blocks }) => BLOCK * blocks))
}

interface Band {
  readonly from: number
  readonly columns: number
  readonly blocks: number
}

const bandsIn = (columns: number, threads: number): Band[] =>
  bandsOf(blocksOf(columns), threads, 1).map(({ from, length }) => ({
    from: from * BLOCK,
    columns: Math.min(columns, (from + length) * BLOCK) - from * BLOCK,
    blocks: length,
  }))

/** Bytes of scratch memory: the rounded row, then `rows` rows of results of a band. */
const scratchFor = (x: KernelTensor, y: KernelTensor, rows: number, threads: number): number =>
  roundedBytes(widthOf(x)) + 4 * rows * longest(widthOf(y), threads)

/**
 * Functions for a band: `round` rounds a row of x to the scratch memory, and `times` multiplies that row with the band
 * of a matrix and returns the offset of the results.
 */
function bandProduct({ functions, scratch }: KernelThread, inner: number) {
  const results = scratch.offset + roundedBytes(inner)
  return {
    round: (row: number) => functions.roundRow(row, scratch.offset, inner, GROUP * groupsOf(inner)),
    times: (matrix: number, { from, blocks }: Band, to = results): number => {
      const block = groupsOf(inner) * GROUP_BYTES
      functions.int8Times(scratch.offset, matrix + (from / BLOCK) * block, to, blocks, groupsOf(inner))
      return to
    },
    results,
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

export const int8Product = implement(declared.int8Product, {
  provider: 'WASM',
  scratch: ({ inputs: { x }, outputs: { y } }, threads) => scratchFor(x, y, 1, threads),
  prepare({ inputs: { x, w }, outputs: { y }, addends }, thread) {
    const bands = bandsIn(widthOf(y), thread.threads)
    const { round, times } = bandProduct(thread, x.size)
    return {
      tasks: bands.length,
      run(task) {
        const band = bands[task] as Band
        round(x.offset)
        const product = times(w.offset, band)
        thread.functions.addTimes(startBand(y, addends.y, thread.floats, band), product, 1, band.columns)
      },
    }
  },
  work: ({ inputs: { w } }) => workOf(w, 1),
})

export const int8ExpertsUp = implement(declared.int8ExpertsUp, {
  provider: 'WASM',
  scratch: ({ inputs: { x }, outputs: { active } }, threads) => scratchFor(x, active, 2, threads),
  prepare({ inputs: { x, experts, up, gate }, outputs: { active: y } }, thread) {
    const columns = widthOf(y)
    const bands = bandsIn(columns, thread.threads)
    const { functions } = thread
    const { round, times, results } = bandProduct(thread, x.size)
    const second = results + 4 * longest(columns, thread.threads)
    return {
      tasks: experts.size * bands.length,
      run(task) {
        const choice = Math.floor(task / bands.length)
        const band = bands[task % bands.length] as Band
        const to = offsetAt(y, choice * columns + band.from)
        round(x.offset)
        const inner = times(matrixOf(thread, experts, choice, up), band)
        if (!gate) return functions.geluParts(inner, to, 1, band.columns, 0)
        const gates = times(matrixOf(thread, experts, choice, gate), band, second)
        functions.swishParts(inner, gates, to, 1, band.columns, 0)
      },
    }
  },
  work: ({ inputs: { experts, up, gate } }) => workOf(up, (gate ? 2 : 1) * experts.size),
})

export const int8ExpertsDown = implement(declared.int8ExpertsDown, {
  provider: 'WASM',
  scratch: ({ inputs: { active }, outputs: { y } }, threads) => scratchFor(active, y, 1, threads),
  prepare({ inputs: { active, experts, gates, down }, outputs: { y }, addends }, thread) {
    const inner = widthOf(active)
    const bands = bandsIn(widthOf(y), thread.threads)
    const { floats, functions } = thread
    const { round, times } = bandProduct(thread, inner)
    return {
      tasks: bands.length,
      run(task) {
        const band = bands[task] as Band
        const to = startBand(y, addends.y, floats, band)
        for (let choice = 0; choice < experts.size; choice++) {
          round(offsetAt(active, choice * inner))
          const product = times(matrixOf(thread, experts, choice, down), band)
          functions.addTimes(to, product, floats[gates.offset / 4 + choice] as number, band.columns)
        }
      },
    }
  },
  work: ({ inputs: { experts, down } }) => workOf(down, experts.size),
})
