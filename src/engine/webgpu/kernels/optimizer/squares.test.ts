import { describe, expect, test } from 'vitest'
import { type Arena, RANGE_START } from '../../../contract/arena.ts'
import type { Device } from '../../device.ts'
import { runKernel, testDevice } from '../../testing/run-kernel.ts'
import { Random, result } from '../../testing/tensors.ts'
import { implement } from '../contract.ts'
import { gateDispatch, rangeSumsDispatch, squaresDispatch } from './squares.ts'
import { planSquares } from './squares-plan.ts'

const device = testDevice as Device

interface GateSettings {
  readonly clip?: number
  readonly closed?: boolean
  readonly finite?: readonly (readonly number[])[]
}

/** Tensors, each with a name of its own. */
const numbered = (arrays: readonly ArrayLike<number>[]) =>
  Object.fromEntries(arrays.map((data, i) => [`array ${i}`, { dtype: 'float32', shape: [data.length], data } as const]))

/** The sums of squares of ranges that follow each other in an arena, each from any float on. @param most As for the plan. */
async function sumsOf(ranges: readonly Float32Array[], most = Number.POSITIVE_INFINITY): Promise<Float64Array> {
  const data = ranges.flatMap((range) => [...range])
  const arena = { byteLength: 4 * data.length } as Arena
  let start = 0
  const placed = ranges.map(({ length: count }) => {
    start += count
    return { arena, start: start - count, count }
  })
  const { windows, ranges: table, sums: count } = planSquares(placed, most)
  const integers = (values: Int32Array) => ({ dtype: 'int32', shape: [values.length], data: values }) as const
  const squares = implement(
    { name: 'squares', inputs: ['range', 'blocks'], outputs: ['sums'] },
    { lower: ({ inputs, outputs }) => [squaresDispatch({ ...inputs, ...outputs }, width)] },
  )
  const sums = new Float64Array(count)
  let width: 1 | 4 = 1
  for (const window of windows) {
    expect(window.start % RANGE_START).toBe(0)
    expect(window.count).toBeLessThanOrEqual(most)
    const range = Float32Array.from(data.slice(window.start, window.start + window.count))
    width = window.width
    const inputs = {
      range: { dtype: 'float32', shape: [range.length], data: range } as const,
      blocks: integers(window.blocks),
    }
    const outputs = { sums: { ...result(count), data: new Float64Array(count) } }
    const written = (await runKernel(device, squares, { inputs, outputs })).sums
    written.forEach((sum, i) => {
      // Each sum is written once, by one window.
      if (sum !== 0) expect(sums[i]).toBe(0)
      if (sum !== 0) sums[i] = sum
    })
  }
  const add = implement(
    { name: 'sums of ranges', inputs: ['sums', 'ranges'], outputs: ['totals'] },
    { lower: ({ inputs, outputs }) => [rangeSumsDispatch({ ...inputs, ...outputs })] },
  )
  const inputs = { sums: { ...result(count), data: sums }, ranges: integers(table) }
  return (await runKernel(device, add, { inputs, outputs: { totals: result(ranges.length) } })).totals
}

/** The gate of ranges: [norm, factor, open, 0]. */
const gateOf = async (ranges: readonly Float32Array[], options: GateSettings = {}) =>
  gateOfSums(await sumsOf(ranges), options)

async function gateOfSums(sums: Float64Array, { clip = 0, closed = false, finite = [] }: GateSettings = {}) {
  const inputs = numbered(finite)
  const decide = implement(
    { name: 'gate', inputs: Object.keys(inputs), outputs: ['sums', 'gate'] },
    {
      lower: ({ inputs, outputs }) => [gateDispatch({ ...outputs, finite: Object.values(inputs) }, { clip, closed })],
    },
  )
  const outputs = { sums: { ...result(sums.length), data: sums }, gate: result(4) }
  return [...(await runKernel(device, decide, { inputs, outputs })).gate]
}

const normOf = (ranges: readonly Float32Array[]): number =>
  Math.sqrt(ranges.reduce((total, range) => range.reduce((sum, x) => sum + x * x, total), 0))

describe.skipIf(testDevice === null)('the gate', () => {
  test.each([[[1]], [[4, 3, 0, 2051]], [[8192]], [[8196]], [[50_000, 6151]], [[0]]])(
    'has the norm of ranges of %j floats',
    async (counts) => {
      const random = new Random()
      const ranges = counts.map((count) => random.floats([count]).data)
      const [norm = 0, ...rest] = await gateOf(ranges)
      expect(Math.abs(norm - normOf(ranges))).toBeLessThanOrEqual(2e-7 * norm)
      expect(rest).toEqual([1, 1, 0])
      expect(await gateOf(ranges)).toEqual([norm, ...rest])
    },
  )

  test('the sum of a range has the same bits wherever it begins, and however much a dispatch can bind', async () => {
    const random = new Random()
    for (const count of [777, 20_004]) {
      const range = random.floats([count]).data
      const [alone] = await sumsOf([range])
      const others = [random.floats([count]).data, range, random.floats([3]).data]
      for (const most of [Number.POSITIVE_INFINITY, 16_384]) expect((await sumsOf(others, most))[1]).toBe(alone)
    }
  })

  test('is within 1e-6 of the norm of equal numbers, whose rounding errors add up', async () => {
    // There are as many sums as for 2^30 numbers; each is the sum of a workgroup, over 8192 numbers.
    const value = Math.fround(0.3)
    const sums = new Float64Array(2 ** 17).fill(Math.fround(8192 * Math.fround(value * value)))
    const [norm = 0] = await gateOfSums(sums)
    expect(Math.abs(norm / (value * 2 ** 15) - 1)).toBeLessThan(1e-6)
  })

  test.each([Number.NaN, -Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'is not open if any number is %d',
    async (bad) => {
      for (const place of [0, 3, 8191, 8203]) {
        const range = new Float32Array(8204).fill(1)
        range[place] = bad
        expect(await gateOf([new Float32Array(3), range], { clip: 1 })).toMatchObject([
          Number.POSITIVE_INFINITY,
          {},
          0,
          0,
        ])
      }
      expect(await gateOf([Float32Array.of(1, bad, 1)])).toMatchObject([Number.POSITIVE_INFINITY, {}, 0, 0])
    },
  )

  test('is not open if squares overflow', async () => {
    expect((await gateOf([new Float32Array(5).fill(1e19)]))[2]).toBe(0)
    expect((await gateOf([Float32Array.of(3, -2e19)]))[2]).toBe(0)
  })

  test('clips norms larger than the limit', async () => {
    const range = Float32Array.of(3, 4)
    expect(await gateOf([range], { clip: 2.5 })).toEqual([5, 0.5, 1, 0])
    expect(await gateOf([range], { clip: 5 })).toEqual([5, 1, 1, 0])
  })

  test('can be closed', async () => {
    expect(await gateOf([Float32Array.of(3, 4)], { closed: true })).toEqual([5, 1, 0, 0])
  })

  test('is not open if other numbers are not finite', async () => {
    const range = Float32Array.of(3, 4)
    expect(await gateOf([range], { finite: [[1, 2], [3]] })).toEqual([5, 1, 1, 0])
    for (const bad of [Number.NaN, Number.NEGATIVE_INFINITY])
      for (const finite of [
        [[bad, 2], [3]],
        [[1, 2], [bad]],
      ])
        expect(await gateOf([range], { finite })).toEqual([5, 1, 0, 0])
  })
})
