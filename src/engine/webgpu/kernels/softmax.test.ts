import { describe, expect, test } from 'vitest'
import { firstDifference, numbers } from '../testing/draws.ts'
import { runKernel, testDevice } from '../testing/run-kernel.ts'
import { logSoftmax, softmax } from './softmax.ts'

describe.skipIf(testDevice === null)('Softmax', () => {
  const device = testDevice as NonNullable<typeof testDevice>

  async function run(kernel: typeof softmax, data: ArrayLike<number>, shape: readonly number[]) {
    const call = {
      attributes: { axis: -1 },
      inputs: { x: { dtype: 'float32', shape, data } },
      outputs: { y: { dtype: 'float32', shape } },
    } as const
    return (await runKernel(device, kernel, call)).y
  }

  const rowOf = (data: ArrayLike<number>, row: number, width: number) =>
    Array.from({ length: width }, (_, i) => data[row * width + i] as number)

  function logarithms(x: readonly number[]): number[] {
    const highest = Math.max(...x)
    const total = x.reduce((sum, value) => sum + Math.exp(value - highest), 0)
    return x.map((value) => value - highest - Math.log(total))
  }

  for (const shape of [
    [1, 1],
    [3, 2],
    [50, 4],
    [2, 7, 13],
    [9, 64],
    [3, 1000],
    [2, 5000],
  ] as const) {
    const width = shape.at(-1) as number
    const count = shape.reduce<number>((product, d) => product * d, 1)
    const data = numbers(count).map((x) => 10 * x)

    test(`rows of [${shape.join(', ')}] sum to 1 in the proportions of exp(x)`, async () => {
      const y = await run(softmax, data, shape)
      for (let row = 0; row < count / width; row++)
        logarithms(rowOf(data, row, width)).forEach((logarithm, i) => {
          // exp is off by up to 3 + 2·|x − max| units in the last place, and so is each term of the sum: |x − max| < 20.
          const want = Math.exp(logarithm)
          expect(Math.abs((y[row * width + i] as number) - want)).toBeLessThanOrEqual(6e-6 * want + 1e-30)
        })
      expect(firstDifference(await run(softmax, data, shape), y)).toBeNull()
    })

    test(`log-softmax gives the logarithms of rows of [${shape.join(', ')}]`, async () => {
      const y = await run(logSoftmax, data, shape)
      for (let row = 0; row < count / width; row++)
        logarithms(rowOf(data, row, width)).forEach((want, i) => {
          expect(Math.abs((y[row * width + i] as number) - want)).toBeLessThanOrEqual(1e-5)
        })
    })
  }

  test('large scores do not overflow, and masked scores get nothing', async () => {
    const data = [1e30, 1e30, -1e30, Number.NEGATIVE_INFINITY, -3.4e38, -3.4e38, -3.4e38, Number.NEGATIVE_INFINITY]
    const y = await run(softmax, data, [2, 4])
    const third = Math.fround(1 / 3)
    for (const [i, want] of [0.5, 0.5, 0, 0, third, third, third, 0].entries()) expect(y[i]).toBeCloseTo(want, 6)
  })

  test('NaN makes its row NaN, and no other row', async () => {
    const data = new Float32Array(3 * 40).fill(1)
    data[40 + 17] = Number.NaN
    const y = await run(softmax, data, [3, 40])
    expect(Array.from(y, Number.isNaN)).toEqual(Array.from(y, (_, i) => i >= 40 && i < 80))
  })

  test('has nothing to do for no rows', async () => {
    expect(await run(softmax, [], [0, 5])).toEqual(new Float64Array(0))
  })
})
