/** Every op on a WebGPU device, with its gradient, against the CPU. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { gradient } from '../src/graph/gradient.ts'
import { add, multiply } from '../src/graph/ops/elementwise.ts'
import { sum } from '../src/graph/ops/reduction.ts'
import { sizeOf } from '../src/graph/shape.ts'
import { constant, input, isFloat, type Tensor } from '../src/graph/tensor.ts'
import { type Buffer, type Runtime, typedArrays } from '../src/runtime/contract.ts'
import { createRuntime } from '../src/runtime/cpu-runtime.ts'
import { createDeviceRuntime } from '../src/runtime/webgpu/runtime.ts'
import { testDevice } from '../src/runtime/webgpu/testing/run-kernel.ts'
import { testRandom } from './support/gradient-check.ts'
import { type OpCase, opCases } from './support/op-cases.ts'

/** Pieces whose number of rows is known at run time only; a device has kernels for packed rows. */
const ragged = ['combine-ragged', 'dispatch-ragged', 'join-rows', 'split-rows']

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
        const { outputs, values } = programOf(given, i + 1)
        const [expected, found] = [await run(cpu, outputs, values), await run(gpu, outputs, values)]
        for (const key of Object.keys(outputs))
          expectNear(found[key] as number[], expected[key] as number[], `${name} ${i} ${key}`)
      }
    })
})

function programOf({ inputs, build }: OpCase, seed: number) {
  const random = testRandom(seed)
  const tensors = inputs.map(({ shape }, i) => input(`x${i}`, 'float32', shape))
  const built = build(...tensors)
  const results = (Array.isArray(built) ? built : [built]) as Tensor[]
  const objective = results
    .filter(({ dtype }) => isFloat(dtype))
    .map((y) => {
      const weights = Float64Array.from({ length: sizeOf(y.shape) }, () => random() * 2 - 1)
      return sum(multiply(y, constant(weights, 'float32', y.shape)))
    })
    .reduce((a, b) => add(a, b))
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

async function run(runtime: Runtime, outputs: Record<string, Tensor>, values: Record<string, Float32Array>) {
  const executable = await runtime.compile({ outputs })
  const memory: Record<string, Buffer> = {}
  for (const { name } of executable.model.inputs) memory[name] = values[name] as Float32Array
  for (const { name, dtype, shape } of executable.model.outputs) memory[name] = new typedArrays[dtype](sizeOf(shape))
  const binding = executable.bind(memory)
  await binding.run()
  binding.release()
  executable.release()
  return Object.fromEntries(
    Object.keys(outputs).map((name) => [name, Array.from(memory[name] as Float32Array, Number)]),
  )
}

function expectNear(found: readonly number[], expected: readonly number[], what: string) {
  expect(found.length).toBe(expected.length)
  expected.forEach((value, i) => {
    if (Math.abs((found[i] as number) - value) > 1e-5 * (1 + Math.abs(value)) || Number.isNaN(found[i]))
      throw new Error(`${what}[${i}] is ${found[i]} (expected ${value})`)
  })
}
