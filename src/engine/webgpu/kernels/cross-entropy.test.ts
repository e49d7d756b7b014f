import { describe, expect, test } from 'vitest'
import type { Device } from '../device.ts'
import { runKernel, testDevice } from '../testing/run-kernel.ts'
import { Random, result } from '../testing/tensors.ts'
import { crossEntropy } from './cross-entropy.ts'

const device = testDevice as Device

/** Runs the kernel in place, as on the device: the gradient overwrites the logits. */
async function run(logits: ArrayLike<number>, targets: readonly number[]) {
  const [rows, columns] = [targets.length, logits.length / targets.length]
  const random = new Random()
  const tensor = random.floats([rows, columns], (i) => logits[i] as number)
  const ofTargets = random.integers([rows], (t) => targets[t] as number)
  const { dLogits, nats, greedy } = await runKernel(device, crossEntropy, {
    inputs: { logits: tensor, targets: ofTargets },
    outputs: { dLogits: tensor, nats: result(rows), greedy: { ...result(rows), dtype: 'int32' } },
  })
  return [dLogits, nats, greedy] as const
}

/** The gradient and the nats in float64, from the definition. */
function expected(logits: Float32Array, targets: readonly number[]) {
  const columns = logits.length / targets.length
  const nats: number[] = []
  const gradient = targets.flatMap((target, t) => {
    const row = Array.from(logits.subarray(t * columns, (t + 1) * columns))
    const maximum = row.reduce((a, b) => Math.max(a, b))
    const total = row.reduce((sum, x) => sum + Math.exp(x - maximum), 0)
    nats.push(target < 0 ? 0 : maximum + Math.log(total) - (row[target] as number))
    return row.map((x, c) => Math.exp(x - maximum) / total - (c === target ? 1 : 0))
  })
  return { gradient, nats }
}

/** The tolerance is relative to 1 + |value|, because a gradient is the difference of numbers up to 1. */
function expectClose(actual: Float64Array, values: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(values.length)
  actual.forEach((x, i) => {
    const value = values[i] as number
    if (!(Math.abs(x - value) <= tolerance * (1 + Math.abs(value)))) throw new Error(`element ${i}: ${x}, not ${value}`)
  })
}

describe.skipIf(testDevice === null)('cross-entropy', () => {
  test.each([
    { rows: 37, columns: 8, scale: 5 },
    { rows: 260, columns: 3, scale: 2 },
    { rows: 5, columns: 1091, scale: 20 },
    { rows: 2, columns: 50_304, scale: 10 },
    { rows: 1, columns: 1, scale: 1 },
  ])('is softmax minus one-hot, and the nats of the target: %o', async ({ rows, columns, scale }) => {
    const random = new Random()
    const logits = random.floats([rows, columns], () => scale * random.number()).data
    const targets = Array.from({ length: rows }, (_, t) => (t % 4 === 3 ? -1 : random.below(columns)))
    const [gradient, nats, greedy] = await run(logits, targets)
    const exact = expected(logits, targets)
    expectClose(gradient, exact.gradient, 2e-6)
    expectClose(nats, exact.nats, 2e-6)
    expect(await run(logits, targets)).toEqual([gradient, nats, greedy])
  })

  test('a target is greedy if no logit is larger, and never if it is not counted or outside the vocabulary', async () => {
    const rows = [
      [1, 3, 2],
      [1, 3, 2],
      [3, 3, 2],
      [3, 3, 2],
      [0, 0, 0],
      [0, 0, 0],
    ]
    const [, , greedy] = await run(rows.flat(), [1, 2, 0, 1, -1, 3])
    expect([...greedy]).toEqual([1, 0, 1, 1, 0, 0])
  })

  test('relative errors of small probabilities are small', async () => {
    // WGSL allows exp(x) an error of 3 + 2·|x| units in the last place: 5e-6 for −40.
    const logits = Float32Array.from({ length: 40 }, (_, c) => -c)
    const [gradient] = await run(logits, [-1])
    expected(logits, [-1]).gradient.forEach((p, c) => {
      expect(Math.abs((gradient[c] as number) / p - 1)).toBeLessThan(1e-5)
    })
  })

  test.each([1e4, 3e38])(
    'logits may be as large as ±%d, and the nats of an impossible target are exact',
    async (large) => {
      const [gradient, nats] = await run([large, -large, 0, -large / 2], [2])
      expect([...gradient]).toEqual([1, 0, -1, 0])
      expect(nats[0]).toBe(Math.fround(large))
    },
  )

  test('a logit of −∞ has no probability', async () => {
    const [gradient, nats] = await run([0, Number.NEGATIVE_INFINITY, 0, Number.NEGATIVE_INFINITY], [0])
    expect([...gradient]).toEqual([-0.5, 0, 0.5, 0])
    expect(nats[0]).toBeCloseTo(Math.log(2), 6)
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('%d among the logits makes the nats NaN', async (bad) => {
    for (const columns of [3, 8]) {
      const logits = Array.from({ length: 2 * columns }, (_, i) => (i === columns + 1 ? bad : i))
      const [, nats] = await run(logits, [0, 2])
      expect(nats[0]).toBeGreaterThan(0)
      expect(nats[1]).toBeNaN()
    }
  })

  test('the nats of a target outside the vocabulary are NaN', async () => {
    for (const columns of [3, 8]) expect((await run(new Float32Array(columns), [columns]))[1][0]).toBeNaN()
  })
})
