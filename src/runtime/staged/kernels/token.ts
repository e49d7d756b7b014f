/**
 * Kernels of a single token. They do little arithmetic and read every active weight once, from where it
 * lies: in the memory of the program, which for these programs is the arena of the parameters. Columns of a
 * matrix are shared out between the threads.
 */
import { RuntimeError } from '../../contract.ts'
import type { Kernel, KernelCall, KernelTensor, KernelThread } from '../contract.ts'
import { cut } from './matmul.ts'

/** Floats of a band are a multiple of this: a cache line. */
const LINE = 16

const at = (tensor: KernelTensor, element = 0): number => tensor.offset + 4 * element
const index = (tensor: KernelTensor, element = 0): number => tensor.offset / 4 + element
const columnsOf = ({ shape }: KernelTensor): number => shape.at(-1) as number
const bytesOf = (tensors: readonly KernelTensor[]): number => 4 * tensors.reduce((total, { size }) => total + size, 0)

/** y begins as what is added to the result, or as zeros. */
function begin(
  { floats }: KernelThread,
  y: KernelTensor,
  addend: KernelTensor | undefined,
  from: number,
  count: number,
) {
  const to = index(y, from)
  if (!addend) floats.fill(0, to, to + count)
  else if (addend.offset !== y.offset) floats.copyWithin(to, index(addend, from), index(addend, from) + count)
}

const addendOf = ({ inputs, added }: KernelCall): KernelTensor | undefined =>
  added.length > 0 ? inputs.at(-1) : undefined

/** Inputs x [1, K], w [K, N], or [N, K] with transB (, what is added [1, N]); output y [1, N]. */
export const rowProduct: Kernel = {
  provider: 'WASM',
  prepare(call, thread) {
    const [x, w] = call.inputs as [KernelTensor, KernelTensor]
    const [y] = call.outputs as [KernelTensor]
    const { rows: functions, threads } = thread
    const [inner, columns] = [columnsOf(x), columnsOf(y)]
    const bands = cut(columns, threads, LINE)
    return {
      tasks: bands.length,
      run(task) {
        const { from, length } = bands[task] as { from: number; length: number }
        begin(thread, y, addendOf(call), from, length)
        if (call.attributes.transB === 1)
          functions.rowTimesTransposed?.(at(x), at(w, from * inner), at(y, from), length, inner, inner)
        else functions.rowTimes?.(at(x), at(w, from), at(y, from), inner, length, columns)
      },
    }
  },
  work: ({ inputs: [, w] }) => ({ flops: 2 * (w as KernelTensor).size, bytes: bytesOf([w as KernelTensor]) }),
}

/**
 * Inputs qkv [1, 3·D], position int32 [1], keys, values [S, D] (, cos, sin [1, d/2]); outputs y [1, D], and
 * keys and values with the row of the position written, in the memory of the inputs or in other. A task is a
 * head.
 */
export const attendCached: Kernel = {
  provider: 'WASM',
  scratch({ inputs }) {
    const [positions = 0, width = 0] = (inputs[2] as KernelTensor).shape
    return 4 * (positions + width + LINE)
  },

  prepare({ attributes, inputs, outputs }, { floats, integers, rows: functions, scratch }) {
    const [qkv, position, keys, values, cos, sin] = inputs as [
      KernelTensor,
      KernelTensor,
      KernelTensor,
      KernelTensor,
      KernelTensor?,
      KernelTensor?,
    ]
    const [y, newKeys, newValues] = outputs as [KernelTensor, KernelTensor, KernelTensor]
    const { heads, scale } = attributes as { heads: number; scale: { float: number } }
    const width = columnsOf(y)
    const size = width / heads
    const query = scratch.offset / 4
    const scores = query + Math.ceil(size / LINE) * LINE

    /** A head of q or k, rotated and times a factor. */
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
    const place = cos && sin ? rotate : copy
    /** A head of all positions but one, where the new table lies elsewhere. */
    const carry = (from: KernelTensor, to: KernelTensor, first: number, now: number) => {
      if (from.offset === to.offset) return
      for (let s = 0; s < (from.shape[0] as number); s++)
        if (s !== now) copy(index(from, s * width + first), index(to, s * width + first), 1)
    }
    return {
      tasks: heads,
      run(head) {
        const now = integers[index(position)] as number
        const [first, row] = [head * size, now * width + head * size]
        place(index(qkv, first), query, scale.float)
        carry(keys, newKeys, first, now)
        carry(values, newValues, first, now)
        place(index(qkv, width + first), index(newKeys, row), 1)
        copy(index(qkv, 2 * width + first), index(newValues, row), 1)
        const seen = now + 1
        floats.fill(0, scores, scores + seen)
        functions.rowTimesTransposed?.(4 * query, at(newKeys, first), 4 * scores, seen, size, width)
        softmax(floats, scores, seen)
        floats.fill(0, index(y, first), index(y, first + size))
        functions.rowTimes?.(4 * scores, at(newValues, first), at(y, first), seen, size, width)
      },
    }
  },
}

/** Softmax of `count` floats, in place. */
function softmax(floats: Float32Array, from: number, count: number): void {
  let largest = Number.NEGATIVE_INFINITY
  for (let i = from; i < from + count; i++) largest = Math.max(largest, floats[i] as number)
  let total = 0
  for (let i = from; i < from + count; i++) {
    const power = Math.exp((floats[i] as number) - largest)
    floats[i] = power
    total += power
  }
  for (let i = from; i < from + count; i++) floats[i] = (floats[i] as number) / total
}

/**
 * Inputs logits [1, N]; outputs the experts int32 [1, K] and their gates [1, K]: the k best of each
 * prototype, by the rules of src/model/routing/routers.ts. Of equal logits the first is better.
 */
export const chooseExperts: Kernel = {
  provider: 'WASM',
  scratch: ({ inputs }) => 4 * columnsOf(inputs[0] as KernelTensor),

  prepare({ attributes, inputs: [logits], outputs: [experts, gates] }, { floats, integers, scratch }) {
    if (!logits || !experts || !gates) throw new Error('internal: a choice without logits')
    const { prototypes, k, after, renormalize } = attributes as Record<string, number> as {
      prototypes: number
      k: number
      after: number
      renormalize: number
    }
    const each = columnsOf(logits) / prototypes
    const share = scratch.offset / 4
    return {
      tasks: 1,
      run() {
        for (let prototype = 0; prototype < prototypes; prototype++) {
          const first = prototype * each
          const values = floats.subarray(index(logits, first), index(logits, first + each))
          const best = Array.from(values.keys())
            .sort((a, b) => (values[b] as number) - (values[a] as number) || a - b)
            .slice(0, k)
          const over = after ? best : values.keys()
          let count = 0
          for (const expert of over) floats[share + count++] = values[expert] as number
          softmax(floats, share, count)
          const gate = best.map((expert, i) => floats[share + (after ? i : expert)] as number)
          const total = renormalize ? gate.reduce((sum, value) => sum + value, 0) : 1
          for (const [i, expert] of best.entries()) {
            integers[index(experts, prototype * k + i)] = first + expert
            floats[index(gates, prototype * k + i)] = (gate[i] as number) / total
          }
        }
      },
    }
  },
}

/** The error function to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26). */
function erf(x: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(x))
  const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
  return Math.sign(x) * (1 - tail * Math.exp(-x * x))
}

const gelu = (x: number): number => 0.5 * x * (1 + erf(x * Math.SQRT1_2))
const swish = (x: number): number => x / (1 + Math.exp(-x))

/** The expert of a choice. @throws RuntimeError when there is no such expert. */
function expertOf({ integers }: KernelThread, experts: KernelTensor, choice: number, [count = 0]: readonly number[]) {
  const expert = integers[index(experts, choice)] as number
  if (!(expert >= 0 && expert < count))
    throw new RuntimeError(`invalid expert: ${expert} (expected one of the ${count} of the layer)`)
  return expert
}

/** Inputs x [1, D], experts int32 [1, K], up (, gate) [N, D, F]; output the activated rows of the chosen experts [K, F]. */
export const expertRowUp: Kernel = {
  provider: 'WASM',
  scratch: ({ outputs: [y] }) => 4 * columnsOf(y as KernelTensor),

  prepare({ inputs, outputs }, thread) {
    const [x, experts, up, gate] = inputs as [KernelTensor, KernelTensor, KernelTensor, KernelTensor?]
    const [y] = outputs as [KernelTensor]
    const { floats, rows: functions, scratch, threads } = thread
    const [width, hidden] = [columnsOf(x), columnsOf(y)]
    const bands = cut(hidden, threads, LINE)
    return {
      tasks: experts.size * bands.length,
      run(task) {
        const choice = Math.floor(task / bands.length)
        const { from, length } = bands[task % bands.length] as { from: number; length: number }
        const matrix = expertOf(thread, experts, choice, up.shape) * width * hidden + from
        const [to, other] = [index(y, choice * hidden + from), scratch.offset / 4]
        floats.fill(0, to, to + length)
        functions.rowTimes?.(at(x), at(up, matrix), 4 * to, width, length, hidden)
        if (!gate) {
          for (let i = to; i < to + length; i++) floats[i] = gelu(floats[i] as number)
          return
        }
        floats.fill(0, other, other + length)
        functions.rowTimes?.(at(x), at(gate, matrix), scratch.offset, width, length, hidden)
        for (let i = 0; i < length; i++)
          floats[to + i] = swish(floats[other + i] as number) * (floats[to + i] as number)
      },
    }
  },
  work: ({ inputs: [, experts, up, gate] }) => activeWork(experts, up, gate ? 2 : 1),
}

/** Inputs rows [K, F], experts int32 [1, K], gates [1, K], down [N, F, D] (, what is added [1, D]); output Σ gate · row·down [1, D]. */
export const expertRowDown: Kernel = {
  provider: 'WASM',
  scratch: ({ outputs: [y] }) => 4 * columnsOf(y as KernelTensor),

  prepare(call, thread) {
    const [x, experts, gates, down] = call.inputs as [KernelTensor, KernelTensor, KernelTensor, KernelTensor]
    const [y] = call.outputs as [KernelTensor]
    const { floats, rows: functions, scratch, threads } = thread
    const [hidden, width] = [columnsOf(x), columnsOf(y)]
    const bands = cut(width, threads, LINE)
    return {
      tasks: bands.length,
      run(task) {
        const { from, length } = bands[task] as { from: number; length: number }
        begin(thread, y, addendOf(call), from, length)
        const [to, product] = [index(y, from), scratch.offset / 4]
        for (let choice = 0; choice < experts.size; choice++) {
          const matrix = expertOf(thread, experts, choice, down.shape) * hidden * width + from
          floats.fill(0, product, product + length)
          functions.rowTimes?.(at(x, choice * hidden), at(down, matrix), scratch.offset, hidden, length, width)
          const gate = floats[index(gates, choice)] as number
          for (let i = 0; i < length; i++)
            floats[to + i] = (floats[to + i] as number) + gate * (floats[product + i] as number)
        }
      },
    }
  },
  work: ({ inputs: [, experts, , down] }) => activeWork(experts, down, 1),
}

/** Of the matrices of as many experts as are chosen. */
function activeWork(experts: KernelTensor | undefined, stack: KernelTensor | undefined, matrices: number) {
  const [count = 1] = stack?.shape ?? []
  const active = (matrices * (experts?.size ?? 0) * (stack?.size ?? 0)) / count
  return { flops: 2 * active, bytes: 4 * active }
}
