import { describe, expect, test } from 'vitest'
import { firstDifference, numbers, sizeOf } from '../../testing/draws.ts'
import { runKernel, type TestTensor, testDevice } from '../../testing/run-kernel.ts'
import { cumulativeSum } from './scan.ts'

describe.skipIf(testDevice === null)('CumSum', () => {
  const device = testDevice as NonNullable<typeof testDevice>

  interface Options {
    readonly axis: number
    readonly exclusive?: number
    readonly reverse?: number
  }

  async function run(x: TestTensor, { axis, exclusive = 0, reverse = 0 }: Options) {
    const outputs = { y: { dtype: x.dtype, shape: x.shape } }
    const call = { attributes: { axis, exclusive, reverse }, inputs: { x }, outputs }
    return (await runKernel(device, cumulativeSum, call)).y
  }

  /** The running sums, and the running sums of the absolute values. */
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
    // This shape has three levels: blocks of 64, then 64 of these blocks.
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
    test(`sums float32 [${shape.join(', ')}] up to rounding, with the same bits each time`, async () => {
      const data = numbers(sizeOf(shape))
      const y = await run({ dtype: 'float32', shape, data }, options)
      const { sums, sizes } = expected(data, shape, options)
      // An element takes at most 8 + 8 additions in each of two levels, each with an error of 6e-8 of its sum.
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
