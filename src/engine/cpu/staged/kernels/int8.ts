/**
 * Kernels of a single token with int8 matrices. A task is a band of whole blocks of columns, so there are no partial
 * sums, and additions and activations follow in the same task. Every task rounds the row for itself.
 */
import { BLOCK, blocksOf, GROUP, GROUP_BYTES, groupsOf } from '../../../../core/graph/int8-layout.ts'
import { RuntimeError } from '../../../contract/runtime.ts'
import type { Kernel, KernelCall, KernelTensor, KernelThread } from '../contract.ts'
import { bandsOf } from './matmul.ts'
import { offsetAt, widthOf } from './rows.ts'

/** Bytes of a row of x rounded to int16, with the scale before it. */
const roundedBytes = (inner: number): number => 16 + 2 * GROUP * groupsOf(inner)

/** Columns of the longest band, whole blocks. */
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

/** The rounded row, then results of a band. */
const scratchOf =
  (rows: number) =>
  ({ inputs: [x], outputs: [y] }: KernelCall, threads: number): number =>
    roundedBytes(widthOf(x as KernelTensor)) + 4 * rows * longest(widthOf(y as KernelTensor), threads)

/** Rounds a row of x to the scratch memory; returns the product with a band of a matrix, at the offset of its results. */
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

/** Writes the addend of the call to a band of y, or zeros. */
function startBand({ inputs, outputs, added }: KernelCall, floats: Float32Array, { from, columns }: Band): number {
  const y = offsetAt(outputs[0] as KernelTensor, from)
  const addend = added.length > 0 ? offsetAt(inputs.at(-1) as KernelTensor, from) : null
  if (addend === null) floats.fill(0, y / 4, y / 4 + columns)
  else if (addend !== y) floats.copyWithin(y / 4, addend / 4, addend / 4 + columns)
  return y
}

/** Finds the matrix of the chosen expert. */
function matrixOf({ integers }: KernelThread, experts: KernelTensor, choice: number, matrices: KernelTensor): number {
  const [count = 0, words = 0] = matrices.shape
  const expert = integers[experts.offset / 4 + choice] as number
  if (!(expert >= 0 && expert < count))
    throw new RuntimeError(`invalid expert: ${expert} (expected one of the ${count} of the layer)`)
  return offsetAt(matrices, expert * words)
}

/** Operations and bytes of so many of the matrices. */
const workOf = (matrices: KernelTensor | undefined, chosen: number) => {
  const bytes = (4 * (matrices?.size ?? 0) * chosen) / (matrices?.shape[0] ?? 1)
  return { flops: 2 * bytes, bytes }
}

/** Inputs x [1, K], w int8 [1, words]; output x·w [1, N]. */
export const int8Product: Kernel = {
  provider: 'WASM',
  scratch: scratchOf(1),
  prepare(call, thread) {
    const [x, w] = call.inputs as [KernelTensor, KernelTensor]
    const bands = bandsIn(widthOf(call.outputs[0] as KernelTensor), thread.threads)
    const { round, times } = bandProduct(thread, x.size)
    return {
      tasks: bands.length,
      run(task) {
        const band = bands[task] as Band
        round(x.offset)
        const product = times(w.offset, band)
        thread.functions.addTimes(startBand(call, thread.floats, band), product, 1, band.columns)
      },
    }
  },
  work: ({ inputs: [, w] }) => workOf(w, 1),
}

/** Inputs x [1, D], experts int32 [1, K], up (, gate) int8 [E, words]; output gelu(x·up), or swish(x·gate) ∘ x·up [K, F]. */
export const int8ExpertsUp: Kernel = {
  provider: 'WASM',
  scratch: scratchOf(2),
  prepare(call, thread) {
    const [x, experts, up, gate] = call.inputs as [KernelTensor, KernelTensor, KernelTensor, KernelTensor?]
    const [y] = call.outputs as [KernelTensor]
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
  work: ({ inputs: [, experts, up, gate] }) => workOf(up, (gate ? 2 : 1) * (experts?.size ?? 0)),
}

/** Inputs active [K, F], experts int32 [1, K], gates [1, K], down int8 [E, words]; output Σ_k gate · active·down [1, D]. */
export const int8ExpertsDown: Kernel = {
  provider: 'WASM',
  scratch: scratchOf(1),
  prepare(call, thread) {
    const [active, experts, gates, down] = call.inputs as [KernelTensor, KernelTensor, KernelTensor, KernelTensor]
    const inner = widthOf(active)
    const bands = bandsIn(widthOf(call.outputs[0] as KernelTensor), thread.threads)
    const { floats, functions } = thread
    const { round, times } = bandProduct(thread, inner)
    return {
      tasks: bands.length,
      run(task) {
        const band = bands[task] as Band
        const y = startBand(call, floats, band)
        for (let choice = 0; choice < experts.size; choice++) {
          round(offsetAt(active, choice * inner))
          const product = times(matrixOf(thread, experts, choice, down), band)
          functions.addTimes(y, product, floats[gates.offset / 4 + choice] as number, band.columns)
        }
      },
    }
  },
  work: ({ inputs: [, experts, , down] }) => workOf(down, experts?.size ?? 0),
}
