/** Extreme but finite inputs give finite results and gradients in float32, the precision of training. */
import { expect, test } from 'vitest'
import { sizeOf } from '../src/core/graph/shape.ts'
import * as g from '../src/faces/library/graph.ts'
import { evaluate } from './support/evaluate.ts'

async function valueAndGradient(
  shape: number[],
  values: number[],
  build: (x: g.Tensor) => g.Tensor,
): Promise<{ y: number[]; dx: number[] }> {
  const x = g.input('x', 'float32', shape)
  const y = build(x)
  const weights = g.constant(
    Array.from({ length: sizeOf(y.shape) }, (_, i) => 1 + (i % 3)),
    'float32',
    y.shape,
  )
  const [dx] = g.gradient(g.sum(g.multiply(y, weights)), [x])
  const run = await evaluate({ y, dx: dx as g.Tensor }, { x: values })
  return { y: run.y as number[], dx: run.dx as number[] }
}

const finite = (values: readonly number[]) => expect(values.every(Number.isFinite), `${values}`).toBe(true)

test('softmax, log-softmax and log-sum-exp of large positive and negative logits are finite', async () => {
  const logits = [1e4, -1e4, 9990, 0, -3e38, 3e38, -1e4, -1e4]
  const soft = await valueAndGradient([2, 4], logits, g.softmax)
  finite(soft.y)
  finite(soft.dx)
  expect(soft.y[0]).toBeCloseTo(1 / (1 + Math.exp(-10)), 5)
  expect(soft.y[5]).toBe(1)
  const log = await valueAndGradient([1, 3], [1e4, -1e4, 9990], g.logSoftmax)
  finite(log.dx)
  expect(log.y[1]).toBeCloseTo(-2e4, 0)
  const total = await valueAndGradient([3, 2], [1e4, 1e4, -1e4, -1e4, 88, 89], g.logSumExp)
  finite(total.dx)
  expect(total.y[0]).toBeCloseTo(1e4 + Math.LN2, 1)
  expect(total.y[1]).toBeCloseTo(-1e4 + Math.LN2, 1)
})

test('cross-entropy of a target with probability near 0 is large, not infinite', async () => {
  const head = g.constant([1, -1], 'float32', [2, 1])
  const { y, dx } = await valueAndGradient([1, 1], [500], (x) =>
    g.linearCrossEntropy(x, head, g.constant([1], 'int32')),
  )
  expect(y[0]).toBeCloseTo(1000, 2)
  expect(dx[0]).toBeCloseTo(2, 4)
})

test('norms of constant and zero rows are finite', async () => {
  const one = g.constant([1, 1, 1, 1], 'float32')
  const zero = g.constant([0, 0, 0, 0], 'float32')
  for (const value of [0, 7, 1e6]) {
    const layer = await valueAndGradient([1, 4], Array(4).fill(value), (x) => g.layerNorm(x, one, zero, 1e-5))
    finite(layer.dx)
    for (const y of layer.y) expect(Math.abs(y)).toBeLessThan(1e-3)
    const rms = await valueAndGradient([1, 4], Array(4).fill(value), (x) => g.rmsNorm(x, one, 1e-5))
    finite(rms.y)
    finite(rms.dx)
  }
})

test('GELU and SiLU far from zero are the identity or zero', async () => {
  for (const activation of [g.gelu, g.silu]) {
    const { y, dx } = await valueAndGradient([4], [60, -60, 1e4, -1e4], activation)
    finite(dx)
    expect(y[0]).toBeCloseTo(60, 4)
    expect(Math.abs(y[1] as number)).toBeLessThan(1e-6)
    expect(y[2]).toBeCloseTo(1e4, 1)
    expect(Math.abs(y[3] as number)).toBeLessThan(1e-6)
  }
})

test('attention with large scores does not depend on later positions', async () => {
  const head = [1, 1, 3, 2]
  const q = g.constant([1e3, 0, 1e3, 0, 1e3, 0], 'float32', head)
  const k = g.constant([-1e3, 0, 1e3, 0, 0, 0], 'float32', head)
  const { y, dx } = await valueAndGradient(head, [1, 2, 3, 4, 5, 6], (v) => g.causalAttention(q, k, v, 1))
  // The first position attends only to itself, the others to the key with the largest score.
  expect(y).toEqual([1, 2, 3, 4, 3, 4])
  finite(dx)
})
