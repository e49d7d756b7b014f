/** @slow */
import { describe, expect, test } from 'vitest'
import type { Device } from '../../device.ts'
import { runKernel, testDevice } from '../../testing/run-kernel.ts'
import { attendCached } from './cached.ts'

interface Case {
  readonly sequence: number
  /** Positions of a page; default: all of them. */
  readonly page?: number
  readonly heads: number
  /** Number of heads of keys and values; default: `heads`. */
  readonly keyHeads?: number
  readonly window?: number
  readonly size: number
  readonly rotary?: boolean
  readonly positions: readonly number[]
}

const cases: readonly (readonly [title: string, given: Case])[] = [
  ['a cache of one token', { sequence: 1, heads: 3, size: 1, positions: [0] }],
  ['an odd width', { sequence: 40, heads: 2, size: 5, positions: [0, 31, 39] }],
  ['half vectors, rotary', { sequence: 33, heads: 2, size: 12, rotary: true, positions: [32] }],
  ['several parts, rotary', { sequence: 200, heads: 4, size: 16, rotary: true, positions: [0, 31, 32, 100, 199] }],
  ['many parts', { sequence: 2100, heads: 1, size: 64, positions: [2050] }],
  ['shared keys, rotary', { sequence: 70, heads: 6, keyHeads: 2, size: 8, rotary: true, positions: [0, 40, 69] }],
  ['a window', { sequence: 200, heads: 3, keyHeads: 1, size: 16, window: 40, positions: [0, 39, 40, 150, 199] }],
  ['pages', { sequence: 192, page: 64, heads: 2, size: 16, rotary: true, positions: [0, 63, 64, 130, 191] }],
  ['a part of a page, a window', { sequence: 70, page: 32, heads: 2, size: 8, window: 40, positions: [31, 45, 69] }],
  ['wide heads, rotary', { sequence: 70, heads: 2, size: 256, rotary: true, positions: [69] }],
]

/** Time limit of a test, ms; a software adapter compiles for seconds. */
const TIMEOUT = 120_000

describe.skipIf(testDevice === null)('attention of a token over a cache', () => {
  const device = testDevice as Device

  test.each(cases)(
    'of %s matches the formula, in the memory of the cache or in other memory',
    async (_, given) => {
      for (const position of given.positions)
        for (const isInPlace of given.sequence % pageOf(given) === 0 ? [false, true] : [true]) {
          const call = callOf(given, position, isInPlace)
          const expected = reference(given, position, call.inputs)
          const results = await runKernel(device, attendCached, call)
          expectWithin(results.y, expected.y)
          expectWithin(results.newKeys, expected.keys)
          expectWithin(results.newValues, expected.values)
          expect(await runKernel(device, attendCached, call)).toEqual(results)
        }
    },
    TIMEOUT,
  )
})

const pageOf = ({ sequence, page = sequence }: Case): number => page

/** The pages of the text, the last one first. */
const pageOrder = (given: Case): number[] =>
  Array.from({ length: Math.ceil(given.sequence / pageOf(given)) }, (_, i) => i).reverse()

/** The row of a position in the caches. */
const rowOf = (given: Case, position: number): number =>
  (pageOrder(given)[Math.floor(position / pageOf(given))] as number) * pageOf(given) + (position % pageOf(given))

/** @param isInPlace Whether the caches after the token are in the memory of the caches before it. */
function callOf(given: Case, position: number, isInPlace: boolean) {
  const { sequence, heads, keyHeads = heads, window = sequence, size, rotary } = given
  let state = 54321
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.fround((state / 2 ** 32) * 2 - 1)
  }
  const width = keyHeads * size
  const drawn = (shape: readonly number[], draw = random) => ({
    dtype: 'float32' as const,
    shape,
    data: Float64Array.from({ length: (shape[0] as number) * (shape[1] as number) }, draw),
  })
  const [page, count] = [pageOf(given), Math.ceil(sequence / pageOf(given))]
  // Later positions must not be read, nor positions before the window.
  const cache = () => {
    const table = drawn([count * page, width])
    for (let at = 0; at < count * page; at++) {
      const row = rowOf(given, at) * width
      if (at >= position || at < position + 1 - window) table.data.fill(Number.NaN, row, row + width)
    }
    return table
  }
  const angle = (f: (x: number) => number) => drawn([1, size / 2], () => Math.fround(f(3 * random())))
  const [cos, sin] = [angle(Math.cos), angle(Math.sin)]
  const at = { dtype: 'int32' as const, shape: [1], data: Float64Array.of(position) }
  const pages = { dtype: 'int32' as const, shape: [1, count], data: Float64Array.from(pageOrder(given)) }
  const result = (shape: readonly number[]) => ({ dtype: 'float32' as const, shape })
  const qkv = drawn([1, heads * size + 2 * width])
  const [keys, values] = [cache(), cache()]
  const after = () => result([count * page, width])
  const caches = isInPlace ? { newKeys: keys, newValues: values } : { newKeys: after(), newValues: after() }
  return {
    attributes: { heads, sequence, page, window, scale: { float: size ** -0.5 } },
    inputs: { qkv, position: at, pages, keys, values, ...(rotary && { cos, sin }) },
    outputs: { y: result([1, heads * size]), ...caches },
  }
}

/** Attention of the last of `position` + 1 tokens, from the definition, and the caches with its key and value. */
function reference(given: Case, position: number, inputs: ReturnType<typeof callOf>['inputs']) {
  const { sequence, heads, keyHeads = heads, window = sequence, size } = given
  const rowAt = (position: number, shared: number) => rowOf(given, position) * width + shared
  const [qkv, keys, values] = [inputs.qkv.data, inputs.keys.data, inputs.values.data]
  const [cos, sin] = [inputs.cos?.data, inputs.sin?.data]
  const width = keyHeads * size
  const half = size / 2
  const rotated = (from: number) =>
    Array.from({ length: size }, (_, i) => {
      const own = qkv[from + i] as number
      if (!cos || !sin) return own
      const partner = qkv[from + ((i + half) % size)] as number
      return (cos[i % half] as number) * own + (i < half ? -1 : 1) * (sin[i % half] as number) * partner
    })
  const [newKeys, newValues, y] = [keys.slice(), values.slice(), new Float64Array(heads * size)]
  const dot = (a: readonly number[], b: ArrayLike<number>) =>
    a.reduce((sum, value, i) => sum + value * (b[i] as number), 0)
  for (let head = 0; head < heads; head++) {
    const shared = Math.floor((head * keyHeads) / heads) * size
    const row = rowAt(position, shared)
    const [key, value] = [heads * size + shared, heads * size + width + shared]
    newKeys.set(rotated(key), row)
    newValues.set(qkv.subarray(value, value + size), row)
    const query = rotated(head * size)
    const seen = Array.from({ length: position + 1 }, (_, s) => s).slice(-window)
    const powers = seen.map((s) =>
      Math.exp(size ** -0.5 * dot(query, newKeys.subarray(rowAt(s, shared), rowAt(s, shared) + size))),
    )
    const total = powers.reduce((sum, power) => sum + power)
    powers.forEach((power, i) => {
      for (let e = 0; e < size; e++)
        y[head * size + e] =
          (y[head * size + e] as number) + (power / total) * (newValues[rowAt(seen[i] as number, shared) + e] as number)
    })
  }
  return { y, keys: newKeys, values: newValues }
}

/**
 * Factors are below 1, so scores are below 16 with an error below 1e-5, and the error of the mean values is below 1e-5
 * too.
 */
function expectWithin(actual: Float64Array, expected: Float64Array): void {
  expect(actual).toHaveLength(expected.length)
  expected.forEach((value, i) => {
    const both = Number.isNaN(value) && Number.isNaN(actual[i])
    if (!(both || Math.abs((actual[i] as number) - value) <= 1e-5))
      expect.fail(`element ${i}: ${actual[i]} instead of ${value}`)
  })
}
