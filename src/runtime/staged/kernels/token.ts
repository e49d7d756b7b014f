/**
 * Kernels of a single token. They do little arithmetic and read every active weight once, in place: the memory
 * of these programs is the arena of the parameters. The threads share the columns or the rows of a matrix;
 * partial sums over rows are added up by the next kernel.
 */
import { RuntimeError } from '../../contract.ts'
import type { Kernel, KernelTensor } from '../contract.ts'
import { bandsOf } from './matmul.ts'
import { at, widthOf } from './rows.ts'

/** Bands are multiples of this many floats: a cache line. */
const LINE = 16

const index = (tensor: KernelTensor, element = 0): number => tensor.offset / 4 + element
const bytesOf = (tensors: readonly KernelTensor[]): number => 4 * tensors.reduce((total, { size }) => total + size, 0)

/** The rows of one of `parts` near-equal parts. */
function partOf(rows: number, part: number, parts: number): { readonly from: number; readonly count: number } {
  const bound = (at: number) => Math.floor((rows * at) / parts)
  return { from: bound(part), count: bound(part + 1) - bound(part) }
}

/** Inputs x [1, K], w [K, N]; output partial sums of x·w [P, N], each over some rows of w. A task is a part. */
export const rowProduct: Kernel = {
  provider: 'WASM',
  prepare({ inputs, outputs }, { floats, functions }) {
    const [x, w] = inputs as [KernelTensor, KernelTensor]
    const [y] = outputs as [KernelTensor]
    const [parts = 1, columns = 1] = y.shape
    return {
      tasks: parts,
      run(part) {
        const { from, count } = partOf(x.size, part, parts)
        floats.fill(0, index(y, part * columns), index(y, (part + 1) * columns))
        functions.rowTimes(at(x, from), at(w, from * columns), at(y, part * columns), count, columns, columns)
      },
    }
  },
  work: ({ inputs: [, w] }) => ({ flops: 2 * (w as KernelTensor).size, bytes: bytesOf([w as KernelTensor]) }),
}

/** Inputs x [1, K], w [N, K]; output x·wᵀ [1, N]. */
export const rowProductTransposed: Kernel = {
  provider: 'WASM',
  prepare({ inputs, outputs }, { functions, threads }) {
    const [x, w] = inputs as [KernelTensor, KernelTensor]
    const [y] = outputs as [KernelTensor]
    const bands = bandsOf(y.size, threads, LINE)
    return {
      tasks: bands.length,
      run(task) {
        const { from, length } = bands[task] as { from: number; length: number }
        functions.rowTimesTransposed(at(x), at(w, from * x.size), at(y, from), length, x.size, x.size)
      },
    }
  },
  work: ({ inputs: [, w] }) => ({ flops: 2 * (w as KernelTensor).size, bytes: bytesOf([w as KernelTensor]) }),
}

/**
 * Inputs parts [G·P, N] (, the weight of each group of P [1, G]) (, addend [1, N]); output
 * Σ weight · part [1, N].
 */
export const sumParts: Kernel = {
  provider: 'WASM',
  prepare({ attributes, inputs, outputs, added }, { floats, functions, threads }) {
    const [parts, maybeWeights] = inputs as [KernelTensor, KernelTensor?]
    const weights = attributes.weighted === 1 ? maybeWeights : undefined
    const addend = added.length > 0 ? inputs.at(-1) : undefined
    const [y] = outputs as [KernelTensor]
    const [rows = 1, columns = 1] = parts.shape
    const perGroup = rows / (weights?.size ?? 1)
    const bands = bandsOf(columns, threads, LINE)
    return {
      tasks: bands.length,
      run(task) {
        const { from, length } = bands[task] as { from: number; length: number }
        const to = index(y, from)
        if (!addend) floats.fill(0, to, to + length)
        else if (addend.offset !== y.offset) floats.copyWithin(to, index(addend, from), index(addend, from) + length)
        for (let r = 0; r < rows; r++) {
          const weight = weights ? (floats[index(weights, Math.floor(r / perGroup))] as number) : 1
          functions.addTimes(4 * to, at(parts, r * columns + from), weight, length)
        }
      },
    }
  },
}

/** Inputs parts [G·P, F] (, parts of the SwiGLU gate [G·P, F]); output gelu(Σ part), or swish(Σ gate) ∘ Σ part [G, F]. */
export const activateParts: Kernel = {
  provider: 'WASM',
  scratch: ({ outputs: [y] }) => 4 * widthOf(y as KernelTensor),

  prepare({ inputs, outputs }, { floats, functions, scratch, threads }) {
    const [parts, gateParts] = inputs as [KernelTensor, KernelTensor?]
    const [y] = outputs as [KernelTensor]
    const [groups = 1, columns = 1] = y.shape
    const perGroup = (parts.shape[0] as number) / groups
    const bands = bandsOf(columns, threads, LINE)
    const total = (tensor: KernelTensor, group: number, from: number, length: number, to: number) => {
      floats.fill(0, to, to + length)
      for (let r = group * perGroup; r < (group + 1) * perGroup; r++)
        functions.addTimes(4 * to, at(tensor, r * columns + from), 1, length)
    }
    return {
      tasks: groups * bands.length,
      run(task) {
        const group = Math.floor(task / bands.length)
        const { from, length } = bands[task % bands.length] as { from: number; length: number }
        const [to, gate] = [index(y, group * columns + from), scratch.offset / 4]
        total(parts, group, from, length, to)
        if (!gateParts) {
          for (let i = to; i < to + length; i++) floats[i] = gelu(floats[i] as number)
          return
        }
        total(gateParts, group, from, length, gate)
        for (let i = 0; i < length; i++) floats[to + i] = swish(floats[gate + i] as number) * (floats[to + i] as number)
      },
    }
  },
}

/**
 * Inputs qkv [1, (H + 2·KV)·d], position int32 [1], keys, values [S, KV·d] (, cos, sin [1, d/2]); outputs y [1, H·d],
 * and keys and values with the row of the position replaced, in the memory of the inputs or elsewhere. A task is a head
 * of queries. Tasks that share a head of keys run at the same time: the first writes the position's row of the caches,
 * and none reads it.
 */
export const attendCached: Kernel = {
  provider: 'WASM',
  scratch({ attributes, inputs, outputs }) {
    const [positions = 0] = (inputs[2] as KernelTensor).shape
    const size = widthOf(outputs[0] as KernelTensor) / (attributes.heads as number)
    return 4 * (positions + 2 * (size + LINE))
  },

  prepare({ attributes, inputs, outputs }, { floats, integers, functions, scratch }) {
    const [qkv, position, keys, values, cos, sin] = inputs as [
      KernelTensor,
      KernelTensor,
      KernelTensor,
      KernelTensor,
      KernelTensor?,
      KernelTensor?,
    ]
    const [y, newKeys, newValues] = outputs as [KernelTensor, KernelTensor, KernelTensor]
    const { heads, window, scale } = attributes as { heads: number; window: number; scale: { float: number } }
    const size = widthOf(y) / heads
    const width = widthOf(keys)
    const perKey = (heads * size) / width
    const query = scratch.offset / 4
    const key = query + Math.ceil(size / LINE) * LINE
    const scores = key + Math.ceil(size / LINE) * LINE

    /** Rotates and scales a head of q or k. */
    const rotate = (from: number, to: number, factor: number) => {
      const half = size / 2
      for (let i = 0; i < half; i++) {
        const [a, b] = [floats[from + i] as number, floats[from + half + i] as number]
        const c = cos ? (floats[index(cos, i)] as number) : 1
        const s = sin ? (floats[index(sin, i)] as number) : 0
        floats[to + i] = factor * (a * c - b * s)
        floats[to + half + i] = factor * (b * c + a * s)
      }
    }
    const copy = (from: number, to: number, factor: number) => {
      for (let i = 0; i < size; i++) floats[to + i] = factor * (floats[from + i] as number)
    }
    const rotateOrCopy = cos && sin ? rotate : copy
    /** Copies a head of all other positions if the output has its own memory. */
    const copyOthers = (from: KernelTensor, to: KernelTensor, first: number, current: number) => {
      if (from.offset === to.offset) return
      for (let s = 0; s < (from.shape[0] as number); s++)
        if (s !== current) copy(index(from, s * width + first), index(to, s * width + first), 1)
    }
    return {
      tasks: heads,
      run(head) {
        const current = integers[index(position)] as number
        const [from, shared] = [head * size, Math.floor(head / perKey) * size]
        const value = heads * size + width + shared
        rotateOrCopy(index(qkv, from), query, scale.float)
        rotateOrCopy(index(qkv, heads * size + shared), key, 1)
        if (head % perKey === 0) {
          copyOthers(keys, newKeys, shared, current)
          copyOthers(values, newValues, shared, current)
          copy(key, index(newKeys, current * width + shared), 1)
          copy(index(qkv, value), index(newValues, current * width + shared), 1)
        }
        const first = Math.max(0, current + 1 - window)
        const earlier = current - first
        const start = first * width + shared
        functions.rowTimesTransposed(4 * query, at(keys, start), 4 * scores, earlier, size, width)
        functions.rowTimesTransposed(4 * query, 4 * key, 4 * (scores + earlier), 1, size, size)
        softmax(floats, scores, earlier + 1)
        floats.fill(0, index(y, from), index(y, from + size))
        functions.rowTimes(4 * scores, at(values, start), at(y, from), earlier, size, width)
        functions.addTimes(at(y, from), at(qkv, value), floats[scores + earlier] as number, size)
      },
    }
  },
}

/** Softmax of `count` floats, in place. */
export function softmax(floats: Float32Array, from: number, count: number): void {
  let max = Number.NEGATIVE_INFINITY
  for (let i = from; i < from + count; i++) max = Math.max(max, floats[i] as number)
  let total = 0
  for (let i = from; i < from + count; i++) {
    const power = Math.exp((floats[i] as number) - max)
    floats[i] = power
    total += power
  }
  for (let i = from; i < from + count; i++) floats[i] = (floats[i] as number) / total
}

/** The error function to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26). */
function erf(x: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(x))
  const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
  return Math.sign(x) * (1 - tail * Math.exp(-x * x))
}

const gelu = (x: number): number => 0.5 * x * (1 + erf(x * Math.SQRT1_2))
const swish = (x: number): number => x / (1 + Math.exp(-x))

/**
 * Inputs rows [1, D] or [K, D], experts int32 [1, K], a matrix of each expert [N, D, F]; output partial sums of the
 * products of the rows with the matrices of the chosen experts [K·P, F]. A task is a part of an expert.
 */
export const expertRowProduct: Kernel = {
  provider: 'WASM',
  prepare({ inputs, outputs }, thread) {
    const [x, experts, matrices] = inputs as [KernelTensor, KernelTensor, KernelTensor]
    const [y] = outputs as [KernelTensor]
    const { floats, functions } = thread
    const [count = 0, inner = 0, columns = 0] = matrices.shape
    const rowPerChoice = (x.shape[0] as number) > 1
    const parts = (y.shape[0] as number) / experts.size
    return {
      tasks: experts.size * parts,
      run(task) {
        const choice = Math.floor(task / parts)
        const expert = thread.integers[index(experts, choice)] as number
        if (!(expert >= 0 && expert < count))
          throw new RuntimeError(`invalid expert: ${expert} (expected one of the ${count} of the layer)`)
        const { from, count: rows } = partOf(inner, task % parts, parts)
        const row = at(x, (rowPerChoice ? choice * inner : 0) + from)
        floats.fill(0, index(y, task * columns), index(y, (task + 1) * columns))
        const matrix = at(matrices, (expert * inner + from) * columns)
        functions.rowTimes(row, matrix, at(y, task * columns), rows, columns, columns)
      },
    }
  },
  // Counts the matrices of the chosen experts.
  work({ inputs: [, experts, matrices] }) {
    const { size = 0, shape = [1] } = matrices ?? {}
    const active = ((experts?.size ?? 0) * size) / (shape[0] as number)
    return { flops: 2 * active, bytes: 4 * active }
  },
}
