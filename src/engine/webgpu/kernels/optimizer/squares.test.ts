import { describe, expect, test } from 'vitest'
import type { Device } from '../../device.ts'
import { overOutputs } from '../../testing/in-place.ts'
import { runKernel, testDevice } from '../../testing/run-kernel.ts'
import { Random, result, vector } from '../../testing/tensors.ts'
import { gateDispatch, squaresDispatches, squaresSize } from './squares.ts'

const device = testDevice as Device

interface GateSettings {
  readonly clip?: number
  readonly closed?: boolean
  readonly finite?: readonly (readonly number[])[]
}

/** The gate of ranges: [norm, factor, open, 0]. */
async function gateOf(ranges: readonly Float32Array[], options: GateSettings = {}) {
  const counts = ranges.map(({ length }) => length)
  const size = squaresSize(counts)
  const tensors = ranges.map((data) => ({ dtype: 'float32', shape: [data.length], data }) as const)
  const outputs = [...tensors, result(size)]
  const sums = (await runKernel(device, overOutputs(squaresDispatches(counts)), { inputs: [], outputs })).at(-1)
  return gateOfSums(sums as Float64Array, options)
}

async function gateOfSums(sums: Float64Array, { clip = 0, closed = false, finite = [] }: GateSettings = {}) {
  const dispatches = [gateDispatch({ sums: sums.length, clip, closed, finite: finite.map(({ length }) => length) })]
  const numbers = finite.map((values) => vector(...values))
  const outputs = [{ ...result(sums.length), data: sums }, result(4), ...numbers]
  const [, gate] = await runKernel(device, overOutputs({ dispatches }), { inputs: [], outputs })
  return [...(gate as Float64Array)]
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

  test('is within 1e-6 of the norm of equal numbers, whose rounding errors add up', async () => {
    // As many sums as of 2^30 numbers; a workgroup's own sum was that of 8192.
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
