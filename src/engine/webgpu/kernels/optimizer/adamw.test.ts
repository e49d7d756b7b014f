import { describe, expect, test } from 'vitest'
import type { Device } from '../../device.ts'
import { inPlace } from '../../testing/in-place.ts'
import { runKernel, testDevice } from '../../testing/run-kernel.ts'
import { expectSums, Random, vector } from '../../testing/tensors.ts'
import { adamwDispatch } from './adamw.ts'

const device = testDevice as Device
const SCALE = 0.4
const SETTINGS = {
  first: 0.1,
  second: 0.05,
  beta1: 0.9,
  beta2: 0.95,
  size: 0.01,
  correction: 2.5,
  epsilon: 1e-6,
  keep: 0.9,
}
const SETTINGS_ORDER = ['first', 'second', 'beta1', 'beta2', 'size', 'correction', 'epsilon', 'keep'] as const

function tensors(count: number) {
  const random = new Random()
  const [p, g, m] = [random.floats([count]), random.floats([count]), random.floats([count])]
  return { p, g, m, v: random.floats([count], () => Math.abs(random.number())) }
}

async function update({ p, g, m, v }: ReturnType<typeof tensors>, open: 0 | 1) {
  const settings = vector(...SETTINGS_ORDER.map((name) => SETTINGS[name]))
  const outputs = { p, g, m, v, settings, gate: vector(123, SCALE, open, 0) }
  const { settings: _, gate, ...results } = await runKernel(device, adamw, { inputs: {}, outputs })
  return results
}

const adamw = inPlace(['p', 'g', 'm', 'v', 'settings', 'gate'], (operands) => [adamwDispatch(operands)])

describe.skipIf(testDevice === null)('adamw', () => {
  test.each([1, 7, 1024])('updates %i elements as the formula says', async (count) => {
    const before = tensors(count)
    const { p, g, m, v } = await update(before, 1)
    const { first, second, beta1, beta2, size, correction, epsilon, keep } = SETTINGS
    const terms = (i: number) => {
      const [p, g, m, v] = [before.p, before.g, before.m, before.v].map(({ data }) => data[i]) as [
        number,
        number,
        number,
        number,
      ]
      const [newM, newV] = [
        [beta1 * m, first * SCALE * g],
        [beta2 * v, second * (SCALE * g) ** 2],
      ] as const
      const root = correction * Math.sqrt(newV[0] + newV[1]) + epsilon
      return { m: newM, v: newV, p: [keep * p, ...newM.map((term) => (-size * term) / root)] }
    }
    expectSums(m, count, (i) => terms(i).m)
    expectSums(v, count, (i) => terms(i).v)
    expectSums(p, count, (i) => terms(i).p)
    expect(g).toEqual(Float64Array.from(before.g.data))
    expect(await update(before, 1)).toEqual({ p, g, m, v })
  })

  test('writes nothing if the gate is not open', async () => {
    const before = tensors(8)
    before.g.data[3] = Number.NaN
    const unchanged = Object.entries(before).map(([name, { data }]) => [name, Float64Array.from(data)])
    expect(await update(before, 0)).toEqual(Object.fromEntries(unchanged))
  })
})
