import { describe, expect, test } from 'vitest'
import { firstDifference, numbers, sizeOf } from '../../testing/draws.ts'
import { runKernel, type TestTensor, testDevice } from '../../testing/run-kernel.ts'
import { cumulativeSum, topK } from './order.ts'

describe.skipIf(testDevice === null)('TopK', () => {
  const device = testDevice as NonNullable<typeof testDevice>

  async function run(data: ArrayLike<number>, shape: readonly number[], k: number, dtype: 'float32' | 'int32') {
    const to = [...shape.slice(0, -1), k]
    const call = {
      type: 'TopK',
      attributes: { axis: -1, largest: 1, sorted: 1 },
      inputs: [
        { dtype, shape, data },
        { dtype: 'int64', shape: [1], data: [k] },
      ],
      outputs: [
        { dtype, shape: to },
        { dtype: 'int64', shape: to },
      ],
    } as const
    return runKernel(device, topK, call)
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

  // Counted ranks up to 256, a sorted block up to 2048, runs in scratch memory beyond.
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
    test(`finds the ${k} largest of [${shape.join(', ')}], equal ones by position`, async () => {
      const width = shape.at(-1) as number
      // Few different values: many are equal.
      const data = numbers(sizeOf(shape)).map((x) => Math.round(x * Math.max(3, width / 3)) / 8)
      const [values, positions] = (await run(data, shape, k, 'float32')) as [Float64Array, Float64Array]
      const want = expected(data, width, k)
      expect(firstDifference(positions, want)).toBeNull()
      const at = (p: number, i: number) => data[Math.floor(i / k) * width + p] as number
      expect(firstDifference(values, want.map(at))).toBeNull()
    })

  test('orders integers of both signs', async () => {
    const data = [5, -3, 2147483647, -2147483648, 0, 5]
    const [values, positions] = (await run(data, [1, 6], 6, 'int32')) as [Float64Array, Float64Array]
    expect(Array.from(values)).toEqual([2147483647, 5, 5, 0, -3, -2147483648])
    expect(Array.from(positions)).toEqual([2, 0, 5, 4, 1, 3])
  })

  test('takes the least integer before padding', async () => {
    const data = new Int32Array(300).fill(-2147483648)
    const [, positions] = (await run(data, [1, 300], 300, 'int32')) as [Float64Array, Float64Array]
    expect(firstDifference(positions, Array.from(data.keys()))).toBeNull()
  })

  for (const width of [8, 300, 2500])
    test(`puts NaN first, then infinity, and holds both zeros equal, in rows of ${width}`, async () => {
      const data = new Float32Array(width).fill(-1)
      data.set([-0, 0, Number.NEGATIVE_INFINITY, Number.NaN, Number.POSITIVE_INFINITY, -0, -Number.NaN, 1e-38])
      const [values, positions] = (await run(data, [1, width], width, 'float32')) as [Float64Array, Float64Array]
      expect(Array.from(positions.subarray(0, 7))).toEqual([3, 6, 4, 7, 0, 1, 5])
      expect(positions.at(-1)).toBe(2)
      expect(Object.is(values[4], -0)).toBe(true)
    })

  test('has nothing to do for no rows', async () => {
    expect(await run([], [0, 5], 2, 'float32')).toEqual([new Float64Array(0), new Float64Array(0)])
  })
})

describe.skipIf(testDevice === null)('CumSum', () => {
  const device = testDevice as NonNullable<typeof testDevice>

  interface Options {
    readonly axis: number
    readonly exclusive?: number
    readonly reverse?: number
  }

  async function run(x: TestTensor, { axis, exclusive = 0, reverse = 0 }: Options) {
    const axisInput: TestTensor = { dtype: 'int64', shape: [], data: [axis] }
    const outputs = [{ dtype: x.dtype, shape: x.shape }]
    const call = { type: 'CumSum', attributes: { axis, exclusive, reverse }, inputs: [x, axisInput], outputs }
    return (await runKernel(device, cumulativeSum, call))[0] as Float64Array
  }

  /** The running sums, and those of the absolute values. */
  function expected(data: ArrayLike<number>, shape: readonly number[], { axis, exclusive, reverse }: Options) {
    const at = axis < 0 ? axis + shape.length : axis
    const [length, inner] = [shape[at] as number, sizeOf(shape.slice(at + 1))]
    const [sums, sizes] = [new Float64Array(data.length), new Float64Array(data.length)]
    for (let line = 0; line < data.length / length; line++) {
      let [sum, size] = [0, 0]
      for (let step = 0; step < length; step++) {
        const position = reverse ? length - 1 - step : step
        const index = (Math.floor(line / inner) * length + position) * inner + (line % inner)
        if (exclusive) [sums[index], sizes[index]] = [sum, size]
        sum += data[index] as number
        size += Math.abs(data[index] as number)
        if (!exclusive) [sums[index], sizes[index]] = [sum, size]
      }
    }
    return { sums, sizes }
  }

  const cases: readonly [shape: readonly number[], options: Options][] = [
    [[1], { axis: 0 }],
    [[8], { axis: 0, exclusive: 1 }],
    [[5, 3], { axis: 1, reverse: 1 }],
    [[300, 2], { axis: -1, exclusive: 1 }],
    [[3, 7, 5], { axis: 1, exclusive: 1, reverse: 1 }],
    [[2, 65, 40], { axis: 1 }],
    [[2, 1000, 3], { axis: 1, exclusive: 1 }],
    [[2500], { axis: 0, reverse: 1 }],
    // Three levels: blocks of 64, then 64 of these.
    [[5000, 33], { axis: 0, exclusive: 1, reverse: 1 }],
  ]
  for (const [shape, options] of cases)
    test(`sums int32 [${shape.join(', ')}] exactly: ${JSON.stringify(options)}`, async () => {
      const data = Int32Array.from(numbers(sizeOf(shape)), (x) => Math.round(x * 100))
      const y = await run({ dtype: 'int32', shape, data }, options)
      expect(firstDifference(y, expected(data, shape, options).sums)).toBeNull()
    })

  for (const [shape, options] of [
    [[300_000], { axis: 0 }],
    [[3, 2100, 2], { axis: 1, exclusive: 1 }],
  ] as const)
    test(`sums float32 [${shape.join(', ')}] to rounding, the same bits each time`, async () => {
      const data = numbers(sizeOf(shape))
      const y = await run({ dtype: 'float32', shape, data }, options)
      const { sums, sizes } = expected(data, shape, options)
      // At most 8 + 8 additions on the way to an element in each of two levels, each with an error of 6e-8 of its sum.
      y.forEach((value, i) => {
        if (!(Math.abs(value - (sums[i] as number)) <= 2e-6 * (sizes[i] as number) + 1e-7))
          expect.fail(`${value} at ${i}, expected ${sums[i]}`)
      })
      expect(firstDifference(await run({ dtype: 'float32', shape, data }, options), y)).toBeNull()
    })

  test('has nothing to do for an empty tensor', async () => {
    expect(await run({ dtype: 'int32', shape: [0, 4], data: [] }, { axis: 1 })).toEqual(new Float64Array(0))
  })
})
