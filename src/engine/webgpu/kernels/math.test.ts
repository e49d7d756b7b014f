/** Functions of one number, compared with float64 on a grid that reaches far into their tails. */
import { describe, expect, test } from 'vitest'
import type { Device } from '../device.ts'
import { runKernel, testDevice } from '../testing/run-kernel.ts'
import { gridOf, implement, linearMain } from './contract.ts'
import { dispatchOf } from './dispatch.ts'
import { erfCode, geluCode, swishCode } from './math.ts'

/** A kernel that applies a function of vectors. */
const mapped = (code: string, name: string) =>
  implement(
    { name, inputs: ['x'], outputs: ['y'] },
    {
      lower: ({ inputs: { x }, outputs: { y } }) => [
        dispatchOf({
          name,
          operands: { x: { of: x, as: 'vec4<f32>' }, y: { of: y, as: 'vec4<f32>' } },
          workgroups: gridOf(x.size / 4),
          code: (arrays) => `${code}${linearMain(x.size / 4)} { ${arrays.y}[index] = ${name}(${arrays.x}[index]); }`,
        }),
      ],
    },
  )

/** The series 2/√π · Σ (−1)ⁿ x^(2n+1) / (n! (2n+1)), whose error in float64 is below 1e-10 for |x| ≤ 4. */
function erf(x: number): number {
  if (Math.abs(x) > 4) return Math.sign(x)
  let [term, sum] = [x, x]
  for (let n = 1; n < 100; n++) {
    term *= -(x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

const cdf = (x: number): number => (1 + erf(x * Math.SQRT1_2)) / 2
const density = (x: number): number => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

const functions = [
  { name: 'erf', code: erfCode('vec4<f32>'), exact: erf, error: 3e-7 },
  { name: 'gelu', code: geluCode('vec4<f32>'), exact: (x: number) => x * cdf(x), error: 3e-7 },
  { name: 'gelu_slope', code: geluCode('vec4<f32>'), exact: (x: number) => cdf(x) + x * density(x), error: 3e-7 },
  { name: 'swish', code: swishCode('vec4<f32>'), exact: (x: number) => x * sigmoid(x), error: 3e-7 },
  {
    name: 'swish_slope',
    code: swishCode('vec4<f32>'),
    exact: (x: number) => sigmoid(x) * (1 + x * (1 - sigmoid(x))),
    error: 5e-7,
  },
]

describe.skipIf(testDevice === null)('functions of WGSL', () => {
  const near = Array.from({ length: 4096 }, (_, i) => (i - 2048) / 256)
  const data = Float32Array.from([...near, -0, 1e-30, -1e-30, 20, -20, 100, -100, 1e4, -1e4, 1e18, -1e18, 3e-5])

  test.each(functions)(
    '$name has an error below $error, relative to x beyond ±1',
    async ({ name, code, exact, error }) => {
      const x = { dtype: 'float32', shape: [data.length], data } as const
      const call = { inputs: { x }, outputs: { y: { dtype: 'float32', shape: [data.length] } } } as const
      const { y } = await runKernel(testDevice as Device, mapped(code, name), call)
      const wrong = Array.from(data).flatMap((at, i) => {
        const value = y[i] as number
        return Math.abs(value - exact(at)) <= error * Math.max(1, Math.abs(at)) ? [] : [{ at, value, exact: exact(at) }]
      })
      expect(wrong).toEqual([])
    },
  )
})
