/** @slow */
import { describe, expect, test } from 'vitest'
import type { Device } from '../../device.ts'
import { toHalf } from '../../testing/half.ts'
import { runKernel, type TestTensor, testDevice } from '../../testing/run-kernel.ts'
import { operandOf } from '../contract.ts'
import { attention, attentionGradient } from './attention.ts'

interface Case {
  readonly batch?: number
  readonly sequence: number
  readonly heads?: number
  /** Number of heads of keys and values; default: `heads`. */
  readonly keyHeads?: number
  readonly size: number
  readonly scale?: number
  readonly rotary?: boolean
  /** The first visible position of each position; default: 0. */
  readonly first?: (position: number) => number
  /** Whether qkv, dy and results are f16 in memory. */
  readonly half?: boolean
}

const several: Case = { sequence: 150, size: 16, heads: 2, batch: 2, rotary: true }
const cases: readonly (readonly [title: string, given: Case])[] = [
  ['several tiles', several],
  ['one pair of columns', { sequence: 5, size: 2, heads: 3, rotary: true }],
  [
    'an odd width, first positions in any order',
    { sequence: 100, size: 5, heads: 2, batch: 2, first: (s) => (s * 37) % (s + 1) },
  ],
  ['whole tiles, and several chunks, of uneven pairs', { sequence: 128, size: 40, rotary: true, scale: 0.3 }],
  ['heads of 256', { sequence: 67, size: 256, rotary: true }],
  [
    'one head of keys, documents',
    { sequence: 200, size: 12, heads: 3, keyHeads: 1, batch: 2, first: (s) => s - (s % 67) },
  ],
  ['f16 in memory, with shared keys', { sequence: 40, size: 8, heads: 6, keyHeads: 2, rotary: true, half: true }],
]
/** Cases for the forward pass only, because a gradient takes seconds to compile on a software adapter. */
const more: typeof cases = [
  ['one token', { sequence: 1, size: 8, heads: 2, batch: 2 }],
  [
    'half vectors, documents with angles',
    { sequence: 130, size: 12, heads: 2, rotary: true, first: (s) => (s < 101 ? 0 : 101) },
  ],
  ['heads of 128', { sequence: 40, size: 128, rotary: true }],
  ['heads wider than a block', { sequence: 34, size: 276 }],
  ['an odd width of f16', { sequence: 35, size: 5, heads: 2, half: true }],
]
/** Time limit of a test, ms. */
const TIMEOUT = 120_000

describe.skipIf(testDevice === null)('attention', () => {
  const device = testDevice as Device
  const forward = async (given: Case, inputs: Inputs) => {
    const { attributes, inputs: tensors, rows, width } = callOf(given, inputs)
    const outputs = { y: { dtype: dtypeOf(given), shape: [rows, width] }, logSums: sumsOf(given) }
    return runKernel(device, attention, { attributes, inputs: tensors, outputs })
  }
  const backward = async (given: Case, inputs: Inputs) => {
    const { attributes, inputs: tensors, rows, width } = callOf(given, inputs)
    const outputs = { dQkv: { dtype: dtypeOf(given), shape: [rows, columnsOf(given)] } }
    const dy = tensor(inputs.dy, [rows, width], dtypeOf(given))
    const forwards = await forward(given, inputs)
    const y = tensor(forwards.y, [rows, width], dtypeOf(given))
    const all = { ...tensors, dy, y, logSums: { ...sumsOf(given), data: forwards.logSums } }
    return (await runKernel(device, attentionGradient, { attributes, inputs: all, outputs })).dQkv
  }

  test.each([...cases, ...more])(
    'of %s matches the formula, and has the same bits twice',
    async (_, given) => {
      const inputs = drawn(given)
      const results = await forward(given, inputs)
      expectWithin(results.y, reference(given, inputs).y, given.half ? HALF : 1)
      expect(await forward(given, inputs)).toEqual(results)
    },
    TIMEOUT,
  )

  test.each(cases)(
    'the gradient of %s matches the formula, and has the same bits twice',
    async (_, given) => {
      const inputs = drawn(given)
      const dqkv = await backward(given, inputs)
      expectWithin(dqkv, reference(given, inputs).dqkv, given.half ? HALF : 1)
      expect(await backward(given, inputs)).toEqual(dqkv)
    },
    TIMEOUT,
  )

  test(
    'scores of hundreds neither overflow nor vanish',
    async () => {
      const inputs = drawn(several)
      const { rows, width } = callOf(several, inputs)
      for (let row = 0; row < rows; row++)
        for (let i = 0; i < width; i++)
          inputs.qkv[row * 3 * width + i] = 512 * (inputs.qkv[row * 3 * width + i] as number)
      const { y, dqkv, largestScore } = reference(several, inputs)
      expect(largestScore).toBeGreaterThan(500)
      // The absolute error of a score is the relative error of its weight, so it grows with the scores.
      expectWithin((await forward(several, inputs)).y, y, 100)
      expectWithin(await backward(several, inputs), dqkv, 100)
    },
    TIMEOUT,
  )

  test('a NaN reaches the tokens that see it, and no other sequence or head', async () => {
    const inputs = drawn(several)
    const { rows, width } = callOf(several, inputs)
    // The NaN is in a key of the first head in the second sequence.
    const at = several.sequence + 71
    inputs.qkv[at * 3 * width + width] = Number.NaN
    const { y } = await forward(several, inputs)
    const hasNaN = (row: number, head: number) => Number.isNaN(y[row * width + head * several.size])
    for (let row = 0; row < rows; row++) {
      expect(hasNaN(row, 1), `row ${row}`).toBe(false)
      expect(hasNaN(row, 0), `row ${row}`).toBe(row >= at)
    }
  })

  test('a call without tokens needs no dispatch', () => {
    const attributes = { batch: 0, sequence: 8, heads: 2, keyHeads: 2, window: 8, scale: { float: 1 } }
    const call = { attributes, addends: {}, scales: {}, rounds: false }
    const [y, qkv, logSums] = [
      operandOf('float32', [0, 16]),
      operandOf('float32', [0, 48]),
      operandOf('float32', [0, 2, 8]),
    ]
    expect(attention.lower({ ...call, inputs: { qkv }, outputs: { y, logSums } })).toEqual([])
    const inputs = { dy: y, qkv, y, logSums }
    expect(attentionGradient.lower({ ...call, inputs, outputs: { dQkv: qkv } })).toEqual([])
  })
})

interface Inputs {
  readonly qkv: Float64Array
  readonly dy: Float64Array
  readonly cos: Float64Array
  readonly sin: Float64Array
  readonly first: Float64Array
}

/** Sums with the sums of the absolute values of their terms, to which rounding errors are relative. */
interface Sums {
  readonly values: Float64Array
  readonly absolute: Float64Array
}

const sums = (rows: number, columns: number): Sums => ({
  values: new Float64Array(rows * columns),
  absolute: new Float64Array(rows * columns),
})

function add({ values, absolute }: Sums, at: number, value: number, bound = Math.abs(value)): void {
  values[at] = (values[at] as number) + value
  absolute[at] = (absolute[at] as number) + bound
}

/**
 * Scores are sums of at most 276 products below 1, scaled by d^−½: their errors are below 1e-5, and are relative errors
 * of weights. The sums of weighted terms add a few units of 6e-8 each, relative to their absolute terms.
 */
function expectWithin(actual: Float64Array | undefined, { values, absolute }: Sums, times = 1): void {
  expect(actual).toHaveLength(values.length)
  values.forEach((value, i) => {
    const error = Math.abs((actual?.[i] as number) - value)
    if (!(error <= times * 1e-5 * (absolute[i] as number) + 1e-30))
      expect.fail(`element ${i}: ${actual?.[i]} instead of ${value}`)
  })
}

/** One rounding to f16 of a result, 2⁻¹¹, in units of 1e-5. */
const HALF = 1 + 2 ** -11 / 1e-5

const dtypeOf = ({ half }: Case): TestTensor['dtype'] => (half ? 'float16' : 'float32')

const tensor = (
  data: ArrayLike<number>,
  shape: readonly number[],
  dtype: TestTensor['dtype'] = 'float32',
): TestTensor => ({ dtype, shape, data })

/** The output with a number for each query. */
const sumsOf = ({ batch = 1, heads = 1, sequence }: Case) =>
  ({ dtype: 'float32', shape: [batch, heads, sequence] }) as const

/** Number of columns of qkv. */
const columnsOf = ({ heads = 1, keyHeads = heads, size }: Case): number => (heads + 2 * keyHeads) * size

function callOf(given: Case, inputs: Inputs) {
  const { batch = 1, sequence, heads = 1, keyHeads = heads, size, scale = size ** -0.5, rotary, first } = given
  const rows = batch * sequence
  const angles = [sequence, size / 2]
  return {
    rows,
    width: heads * size,
    attributes: { batch, sequence, heads, keyHeads, window: sequence, scale: { float: scale } },
    inputs: {
      qkv: tensor(inputs.qkv, [rows, columnsOf(given)], dtypeOf(given)),
      cos: rotary ? tensor(inputs.cos, angles) : undefined,
      sin: rotary ? tensor(inputs.sin, angles) : undefined,
      first: first && ({ dtype: 'int32', shape: [rows], data: inputs.first } as const),
    },
  }
}

function drawn(given: Case): Inputs {
  const { batch = 1, sequence, heads = 1, size, first = () => 0, half } = given
  let state = 12345
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    const value = Math.fround((state / 2 ** 32) * 2 - 1)
    return half ? toHalf(value) : value
  }
  const rows = batch * sequence
  const draw = (count: number) => Float64Array.from({ length: count }, random)
  const angles = Float64Array.from({ length: sequence * Math.floor(size / 2) }, (_, i) => i * 0.37)
  return {
    qkv: draw(rows * columnsOf(given)),
    dy: draw(rows * heads * size),
    cos: angles.map((angle) => Math.fround(Math.cos(angle))),
    sin: angles.map((angle) => Math.fround(Math.sin(angle))),
    first: Float64Array.from({ length: rows }, (_, row) => first(row % sequence)),
  }
}

/** Attention and its gradient from the definition, one query at a time, with all of its weights in memory. */
function reference(given: Case, inputs: Inputs) {
  const { batch = 1, sequence, heads = 1, keyHeads = heads, size, scale = size ** -0.5, rotary } = given
  const [rows, width, columns, half] = [batch * sequence, heads * size, columnsOf(given), size / 2]
  const [y, dqkv] = [sums(rows, width), sums(rows, columns)]
  /** Columns of qkv at which queries, keys and values begin. */
  const starts = [0, width, width + keyHeads * size] as const
  const { qkv, dy, cos, sin, first } = inputs
  /** A head of q, k or v (part 0, 1, 2), rotated. */
  const head = (row: number, part: 0 | 1 | 2, h: number): number[] => {
    const from = row * columns + starts[part] + h * size
    const x = Array.from(qkv.subarray(from, from + size))
    return rotary && part < 2 ? x.map((_, i) => turned(x, row % sequence, i, 1)) : x
  }
  const turned = (x: readonly number[], position: number, i: number, sign: 1 | -1): number => {
    const [c, s] = [cos, sin].map((table) => table[position * half + (i % half)] as number) as [number, number]
    const partner = x[i < half ? i + half : i - half] as number
    return c * (x[i] as number) + (i < half ? -sign : sign) * s * partner
  }
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    Array.from(a).reduce((sum, value, i) => sum + value * (b[i] as number), 0)
  const absolute = (a: ArrayLike<number>) => Array.from(a, Math.abs)

  // Gradients of rotated queries and keys.
  const [dq, dk] = [sums(rows, width), sums(rows, keyHeads * size)]
  let largestScore = 0
  for (let h = 0; h < heads; h++)
    for (let row = 0; row < rows; row++) {
      const start = row - (row % sequence)
      const keyHead = Math.floor((h * keyHeads) / heads)
      const query = head(row, 0, h)
      const seen = Array.from({ length: row + 1 }, (_, r) => r).filter((r) => r >= start + (first[row] as number))
      const scores = seen.map((r) => scale * dot(query, head(r, 1, keyHead)))
      const largest = Math.max(...scores)
      largestScore = Math.max(largestScore, largest)
      const powers = scores.map((score) => Math.exp(score - largest))
      const total = powers.reduce((sum, power) => sum + power)
      const weights = powers.map((power) => power / total)
      const dyHead = dy.subarray(row * width + h * size, row * width + (h + 1) * size)
      seen.forEach((r, j) => {
        head(r, 2, keyHead).forEach((v, i) => {
          add(y, row * width + h * size + i, (weights[j] as number) * v)
          add(dqkv, r * columns + starts[2] + keyHead * size + i, (weights[j] as number) * (dyHead[i] as number))
        })
      })
      const products = seen.map((r) => dot(dyHead, head(r, 2, keyHead)))
      const bounds = seen.map((r) => dot(absolute(dyHead), absolute(head(r, 2, keyHead))))
      const mean = dot(weights, products)
      const meanBound = dot(weights, bounds)
      seen.forEach((r, j) => {
        const weight = scale * (weights[j] as number)
        const [dScore, bound] = [
          weight * ((products[j] as number) - mean),
          Math.abs(weight) * ((bounds[j] as number) + meanBound),
        ]
        const key = head(r, 1, keyHead)
        for (let i = 0; i < size; i++) {
          const [q, k] = [query[i] as number, key[i] as number]
          add(dq, row * width + h * size + i, dScore * k, bound * Math.abs(k))
          add(dk, (r * keyHeads + keyHead) * size + i, dScore * q, bound * Math.abs(q))
        }
      })
    }
  for (const [part, { values, absolute }] of [dq, dk].entries())
    for (let row = 0; row < rows; row++)
      for (let h = 0; h < (part === 0 ? heads : keyHeads); h++) {
        const at = (row * (part === 0 ? heads : keyHeads) + h) * size
        const [x, bounds] = [values, absolute].map((all) => Array.from(all.subarray(at, at + size))) as [
          number[],
          number[],
        ]
        for (let i = 0; i < size; i++) {
          const value = rotary ? turned(x, row % sequence, i, -1) : (x[i] as number)
          const bound = rotary ? (bounds[i] as number) + (bounds[(i + half) % size] as number) : (bounds[i] as number)
          add(dqkv, row * columns + starts[part as 0 | 1] + h * size + i, value, bound)
        }
      }
  return { y, dqkv, largestScore }
}
