import { describe, expect, test } from 'vitest'
import { firstDifference, numbers, sizeOf } from '../../testing/draws.ts'
import { runKernel, testDevice } from '../../testing/run-kernel.ts'
import { topK } from './top-k.ts'

describe.skipIf(testDevice === null)('TopK', () => {
  const device = testDevice as NonNullable<typeof testDevice>

  async function run(data: ArrayLike<number>, shape: readonly number[], k: number, dtype: 'float32' | 'int32') {
    const to = [...shape.slice(0, -1), k]
    return runKernel(device, topK, {
      attributes: { axis: -1, largest: 1, sorted: 1 },
      inputs: { x: { dtype, shape, data } },
      outputs: { values: { dtype, shape: to }, positions: { dtype: 'int64', shape: to } },
    })
  }

  function expected(data: ArrayLike<number>, width: number, k: number) {
    const positions: number[] = []
    for (let first = 0; first < data.length; first += width) {
      const row = Array.from({ length: width }, (_, i) => i)
      const value = (i: number) => data[first + i] as number
      row.sort((a, b) => value(b) - value(a) || a - b)
      positions.push(...row.slice(0, k))
    }
    return positions
  }

  // Ranks are counted up to a width of 256; a row is a sorted block up to 2048, and runs in scratch memory beyond.
  const cases: readonly [shape: readonly number[], k: number][] = [
    [[1, 1], 1],
    [[5, 3], 3],
    [[7, 2, 8], 2],
    [[3, 100], 5],
    [[2, 256], 256],
    [[3, 257], 1],
    [[2, 700], 9],
    [[2, 2048], 2048],
    [[2, 2049], 3],
    [[2, 5000], 5000],
    [[3, 9001], 2500],
  ]

  for (const [shape, k] of cases)
    test(`finds the ${k} largest of [${shape.join(', ')}], equal elements by position`, async () => {
      const width = shape.at(-1) as number
      // There are few different values, so many elements are equal.
      const data = numbers(sizeOf(shape)).map((x) => Math.round(x * Math.max(3, width / 3)) / 8)
      const { values, positions } = await run(data, shape, k, 'float32')
      const want = expected(data, width, k)
      expect(firstDifference(positions, want)).toBeNull()
      const at = (p: number, i: number) => data[Math.floor(i / k) * width + p] as number
      expect(firstDifference(values, want.map(at))).toBeNull()
    })

  test('orders integers of both signs', async () => {
    const data = [5, -3, 2147483647, -2147483648, 0, 5]
    const { values, positions } = await run(data, [1, 6], 6, 'int32')
    expect(Array.from(values)).toEqual([2147483647, 5, 5, 0, -3, -2147483648])
    expect(Array.from(positions)).toEqual([2, 0, 5, 4, 1, 3])
  })

  test('takes the least integer before padding', async () => {
    const data = new Int32Array(300).fill(-2147483648)
    const { positions } = await run(data, [1, 300], 300, 'int32')
    expect(firstDifference(positions, Array.from(data.keys()))).toBeNull()
  })

  for (const width of [8, 300, 2500])
    test(`puts NaN first, then infinity, and holds both zeros equal, in rows of ${width}`, async () => {
      const data = new Float32Array(width).fill(-1)
      data.set([-0, 0, Number.NEGATIVE_INFINITY, Number.NaN, Number.POSITIVE_INFINITY, -0, -Number.NaN, 1e-38])
      const { values, positions } = await run(data, [1, width], width, 'float32')
      expect(Array.from(positions.subarray(0, 7))).toEqual([3, 6, 4, 7, 0, 1, 5])
      expect(positions.at(-1)).toBe(2)
      expect(Object.is(values[4], -0)).toBe(true)
    })

  test('has nothing to do for no rows', async () => {
    expect(await run([], [0, 5], 2, 'float32')).toEqual({ values: new Float64Array(), positions: new Float64Array() })
  })
})
