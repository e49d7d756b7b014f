import { describe, expect, test } from 'vitest'
import type { Device } from '../device.ts'
import { rounded } from '../testing/exact.ts'
import { runKernel, testDevice } from '../testing/run-kernel.ts'
import { expectSums, HALF_TOLERANCE, halfResult, Random, result } from '../testing/tensors.ts'
import { rmsNorm, rmsNormGradient, simplifiedLayerNorm } from './norm.ts'

const device = testDevice as Device
/** Time limit of a test, ms; software adapters take seconds to compile a kernel with many barriers. */
const COMPILATION = 60_000
const at = (values: ArrayLike<number>, i: number) => values[i] as number
const EPSILON = 1e-5
const attributes = { epsilon: { float: EPSILON } }

/** 1/√(mean x² + ε) of each row, in float64. */
const inversesOf = (x: Float32Array, width: number): number[] =>
  Array.from({ length: x.length / width }, (_, t) => {
    const squares = x.subarray(t * width, (t + 1) * width).reduce((sum, value) => sum + value * value, 0)
    return 1 / Math.sqrt(squares / width + EPSILON)
  })

/** Narrow and odd rows, rows that fill the lanes several times, a single number, and a single row. */
const SHAPES = [
  { rows: 37, width: 8 },
  { rows: 300, width: 5 },
  { rows: 19, width: 1091 },
  { rows: 1, width: 1 },
  { rows: 1, width: 4100 },
]

describe.skipIf(testDevice === null)('rms-norm', () => {
  test.each(SHAPES)('divides rows by their root mean square: %o', async ({ rows, width }) => {
    const random = new Random()
    const [x, weight] = [random.floats([rows, width]), random.floats([width])]
    const outputs = { y: result(rows, width), inverse: result(rows, 1) }
    const call = { inputs: { x, weight }, outputs, attributes }
    const { y, inverse } = await runKernel(device, rmsNorm, call)
    const expected = inversesOf(x.data, width)
    expectSums(inverse, rows, (t) => [at(expected, t)])
    expectSums(y, rows * width, (i) => [
      at(expected, Math.floor(i / width)) * at(x.data, i) * at(weight.data, i % width),
    ])
    expect(await runKernel(device, rmsNorm, call)).toEqual({ y, inverse })
  })

  test('rounds rows to f16 in memory', async () => {
    const random = new Random()
    const [x, weight] = [random.floats([37, 8]), random.floats([8])]
    const outputs = { y: halfResult(37, 8), inverse: result(37, 1) }
    const { y } = await runKernel(device, rmsNorm, { inputs: { x, weight }, outputs, attributes })
    const expected = inversesOf(x.data, 8)
    const terms = (i: number) => [at(expected, Math.floor(i / 8)) * at(x.data, i) * at(weight.data, i % 8)]
    expectSums(y, 37 * 8, terms, HALF_TOLERANCE)
  })

  test('normalizes the last axis of any tensor, and leaves a row of zeros', async () => {
    const random = new Random()
    const x = random.floats([2, 3, 4], (i) => (i < 4 ? 0 : random.number()))
    const inputs = { x, weight: random.floats([4], () => 1) }
    const outputs = { y: result(2, 3, 4), inverse: result(2, 3, 1) }
    const { y } = await runKernel(device, simplifiedLayerNorm, { inputs, outputs, attributes })
    const expected = inversesOf(x.data, 4)
    expectSums(y, 24, (i) => [at(expected, Math.floor(i / 4)) * at(x.data, i)])
  })
})

function gradientCall(rows: number, width: number, added: boolean, half = false) {
  const random = new Random()
  const drawn = random.floats([rows, width])
  const dy = half ? rounded(drawn) : drawn
  const [x, weight] = [random.floats([rows, width]), random.floats([width])]
  const inverses = inversesOf(x.data, width)
  const inverse = random.floats([rows, 1], (t) => at(inverses, t))
  const addend = random.floats([rows, width])
  const call = {
    attributes: { parts: 16 },
    inputs: { dy, x, weight, inverse },
    outputs: { dx: result(rows, width), dWeight: result(16, width) },
    addends: { dx: added ? addend : undefined },
  }
  return { dy: dy.data, x: x.data, weight: weight.data, inverse: inverse.data, addend, call }
}

describe.skipIf(testDevice === null)('rms-norm-gradient', { timeout: COMPILATION }, () => {
  const shapes = [
    { rows: 37, width: 8 },
    { rows: 19, width: 1091 },
    { rows: 700, width: 260 },
    { rows: 1, width: 1 },
  ]
  const cases = shapes.map((shape, i) => ({ ...shape, added: i % 2 === 0, half: false }))
  // dy as f16 in memory is read exactly.
  test.each([...cases, { rows: 37, width: 8, added: true, half: true }])(
    'matches the formula: %o',
    async ({ rows, width, added, half }) => {
      const { dy, x, weight, inverse, addend, call } = gradientCall(rows, width, added, half)
      const { dx, dWeight } = await runKernel(device, rmsNormGradient, call)
      // The positive and the negative terms of each row are summed apart: fewer terms with the same sum of magnitudes.
      const along = Array.from({ length: rows }, (_, t) => {
        const sums: [number, number] = [0, 0]
        for (let i = t * width; i < (t + 1) * width; i++) {
          const term = (at(inverse, t) ** 3 * at(dy, i) * at(x, i) * at(weight, i % width)) / width
          sums[term > 0 ? 0 : 1] += term
        }
        return sums
      })
      expectSums(dx, rows * width, (i) => {
        const t = Math.floor(i / width)
        const [positive, negative] = along[t] as [number, number]
        const terms = [at(inverse, t) * at(dy, i) * at(weight, i % width), -positive * at(x, i), -negative * at(x, i)]
        return added ? [...terms, at(addend.data, i)] : terms
      })
      const weightGradient = Float64Array.from({ length: width }, (_, c) =>
        Array.from({ length: 16 }, (_, part) => at(dWeight, part * width + c)).reduce((a, b) => a + b),
      )
      expectSums(weightGradient, width, (c) =>
        Array.from({ length: rows }, (_, t) => at(inverse, t) * at(dy, t * width + c) * at(x, t * width + c)),
      )
      expect(await runKernel(device, rmsNormGradient, call)).toEqual({ dx, dWeight })
      if (!added) return
      const over = { ...call, outputs: { dx: addend, dWeight: result(16, width) } }
      expect(await runKernel(device, rmsNormGradient, over)).toEqual({ dx, dWeight })
    },
  )

  test('is as exact for large numbers, where r³ underflows', async () => {
    const { dy, x, weight, call } = gradientCall(2, 4, false)
    const large = x.map((value) => value * 1e16)
    const inverses = inversesOf(large, 4)
    const random = new Random()
    const inputs = {
      ...call.inputs,
      x: random.floats([2, 4], (i) => at(large, i)),
      inverse: random.floats([2, 1], (t) => at(inverses, t)),
    }
    const { dx } = await runKernel(device, rmsNormGradient, { ...call, inputs })
    expectSums(dx, 8, (i) => {
      const t = Math.floor(i / 4)
      const r = at(inverses, t)
      const along = [0, 1, 2, 3].map((c) => (at(dy, t * 4 + c) * at(large, t * 4 + c) * at(weight, c) * r * r) / 4)
      return [r * at(dy, i) * at(weight, i % 4), ...along.map((term) => -term * r * at(large, i))]
    })
  })

  test('without rows the gradient of the weight is zero', async () => {
    const { dWeight } = await runKernel(device, rmsNormGradient, gradientCall(0, 4, false).call)
    expect(dWeight).toEqual(new Float64Array(64))
  })
})
