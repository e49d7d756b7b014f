/**
 * Compares every op and its gradient on a WebGPU device with the CPU.
 *
 * @slow
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { gradient } from '../src/core/graph/ops/gradient.ts'
import { sizeOf } from '../src/core/graph/shape.ts'
import { input, type Tensor } from '../src/core/graph/tensor.ts'
import type { Buffer as Memory, Runtime } from '../src/engine/contract/runtime.ts'
import { createRuntime } from '../src/engine/cpu/cpu-runtime.ts'
import { createDeviceRuntime } from '../src/engine/webgpu/runtime.ts'
import { testDevice } from '../src/engine/webgpu/testing/run-kernel.ts'
import { testRandom, weightedSum } from './support/gradient-check.ts'
import { runOnce } from './support/kernel-check.ts'
import { type OpCase, opCases } from './support/op-cases.ts'

/** Ops on pieces whose number of rows is known at run time only; a device has kernels for packed rows instead. */
const ragged = ['combine-ragged', 'dispatch-ragged']

/** The cases that a device computes of ops that share code with others; for each case it must compile kernels. */
const chosen: Readonly<Record<string, readonly number[]>> = {
  // Equal shapes, and shapes that are both broadcast: operands are broadcast as in add, multiply and where.
  ...Object.fromEntries(['subtract', 'divide', 'maximum', 'minimum'].map((name) => [name, [0, 3]])),
  // The cases of one position, of shared keys, of first positions, and of earlier positions. Training has a kernel of its own
  // for attention.
  'causal-attention': [1, 2, 4, 5],
}

describe.skipIf(testDevice === null)('ops on a WebGPU device agree with the CPU', () => {
  let cpu: Runtime
  let gpu: Runtime
  beforeAll(async () => {
    cpu = await createRuntime({ threads: 1 })
    gpu = createDeviceRuntime(testDevice as NonNullable<typeof testDevice>)
  })
  afterAll(async () => {
    await cpu.close()
    await gpu.close()
  })

  for (const [name, cases] of Object.entries(opCases('float32')).filter(([name]) => !ragged.includes(name)))
    test(name, { timeout: 120_000 }, async () => {
      for (const [i, given] of cases.entries()) {
        if (!(chosen[name]?.includes(i) ?? true)) continue
        const { outputs, values } = programOf(given, i + 1)
        const [expected, found] = [await runOnce(cpu, { outputs }, values), await runOnce(gpu, { outputs }, values)]
        for (const key of Object.keys(outputs))
          expectNear(
            Array.from(found[key] as Memory, Number),
            Array.from(expected[key] as Memory, Number),
            `${name} ${i} ${key}`,
          )
      }
    })
})

function programOf({ inputs, build }: OpCase, seed: number) {
  const random = testRandom(seed)
  const tensors = inputs.map(({ shape }, i) => input(`x${i}`, 'float32', shape))
  const built = build(...tensors)
  const results = (Array.isArray(built) ? built : [built]) as Tensor[]
  const objective = weightedSum(results, random)
  const gradients = gradient(objective, tensors)
  const shown = results.filter(({ shape }) => sizeOf(shape) > 0)
  const named = [...shown.map((y, i) => [`y${i}`, y] as const), ...gradients.map((g, i) => [`g${i}`, g] as const)]
  const values = Object.fromEntries(
    inputs.map(({ shape, values }, i) => {
      const draw = values ?? ((uniform: () => number) => uniform() * 4 - 2)
      return [`x${i}`, Float32Array.from({ length: sizeOf(shape) }, () => draw(random))]
    }),
  )
  return { outputs: { objective, ...Object.fromEntries(named) }, values }
}

function expectNear(found: readonly number[], expected: readonly number[], what: string) {
  expect(found.length).toBe(expected.length)
  expected.forEach((value, i) => {
    if (Math.abs((found[i] as number) - value) > 1e-5 * (1 + Math.abs(value)) || Number.isNaN(found[i]))
      throw new Error(`${what}[${i}] is ${found[i]} (expected ${value})`)
  })
}
