/** Gradients of a step: rows that a kernel adds after the program, and a coefficient that changes by the step. */

import { expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import { gradient } from '../../../core/graph/gradient.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { Tensor } from '../../../core/graph/tensor.ts'
import { modelSchema } from '../../../core/model/config.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import type { PortMemory } from '../../../engine/contract/runtime.ts'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { createArenaKernels } from '../../../engine/cpu/wasm/arena-kernels.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { initialize, initialScales } from '../store/initialize.ts'
import { inputNameOf } from '../store/model-store.ts'
import { ParameterStore } from '../store/store.ts'
import { GradientProgram, gradientScratch } from './gradient-program.ts'
import { tracePass } from './pass.ts'

const cases = [
  { tied: true, positions: 'rotary' },
  { tied: false, positions: 'rotary' },
  { tied: true, positions: 'learned' },
  { tied: false, positions: 'learned' },
] as const

for (const settings of cases)
  test(`rows added outside the graph give its gradients: tied ${settings.tied}, ${settings.positions}`, async () => {
    const config = modelSchema.parse({
      ...settings,
      vocabulary: 23,
      layers: 1,
      width: 12,
      heads: 2,
      sequence: 7,
      moe: { experts: 2, hidden: 8, capacity: 'none' },
    })
    const shape = { batch: 4, microBatches: 1, sequence: config.sequence }
    const runtime = await createRuntime({ threads: 1 })
    const kernels = await createArenaKernels(2)
    const store = new ParameterStore(cpuMemory, parameterSpecs(config), 0, gradientScratch(config, shape))
    await initialize(store, 3, initialScales({ model: config, train: runSchema.parse({}).train }))
    // Tokens and targets repeat, and one target is not counted.
    const tokens = Int32Array.from({ length: 28 }, (_, t) => (t * t) % 23)
    const targets = Int32Array.from({ length: 28 }, (_, t) => (t === 5 ? -1 : (t * 5) % 11))

    const program = await GradientProgram.compile({ runtime, kernels, config, store, shape }, 0)
    await program.run(1, { tokens, targets })

    const traced = tracePass(config, store, { batch: 4, sequence: config.sequence, training: true, capacity: 'train' })
    const tables = traced.parameters.used.filter(({ spec }) => ['embedding', 'positions', 'head'].includes(spec.name))
    expect(tables.length).toBe(1 + Number(!settings.tied) + Number(settings.positions === 'learned'))
    const gradients = gradient(
      traced.losses.objective,
      tables.map(({ tensor }) => tensor),
    )
    const outputs = Object.fromEntries(tables.map(({ spec }, i) => [`d ${spec.name}`, gradients[i] as Tensor]))
    const executable = await runtime.compile({ outputs })
    const buffers: Record<string, PortMemory> = { tokens, targets }
    for (const { spec, expert, tensor } of traced.parameters.used)
      buffers[inputNameOf(tensor)] = store.parameter(spec.name, expert)
    for (const { name, shape } of executable.model.outputs) buffers[name] = new Float32Array(sizeOf(shape))
    const wanted = [...executable.model.inputs, ...executable.model.outputs].map(({ name }) => name)
    const binding = executable.bind(Object.fromEntries(wanted.map((name) => [name, buffers[name] as PortMemory])))
    await binding.run()

    for (const { spec } of tables) {
      const expected = buffers[`d ${spec.name}`] as Float32Array
      const actual = floatsOf(store.gradient(spec.name))
      expect(expected.some((value) => value !== 0)).toBe(true)
      expected.forEach((value, i) => {
        expect(Math.abs((actual[i] as number) - value)).toBeLessThan(1e-6 * (1 + Math.abs(value)))
      })
    }
    binding.release()
    executable.release()
    program.release()
    await kernels.close()
    await runtime.close()
  })

test.each([
  ['one pass', 1, {}],
  ['two micro-batches, experts in attention', 2, { attention: 'all' }],
  ['sigmoid scores, without capacity', 1, { scores: 'sigmoid', router: 'bias', capacity: 'none' }],
] as const)('a changing coefficient gives the gradients of constant coefficients: %s', async (_, passes, moe) => {
  const configOf = (coefficient: number) =>
    modelSchema.parse({
      ...{ vocabulary: 23, layers: 2, width: 12, heads: 2, sequence: 7 },
      moe: { experts: 4, hidden: 8, k: 2, balance: { coefficient }, ...moe },
    })
  const runtime = await createRuntime({ threads: 1 })
  const kernels = await createArenaKernels(1)
  const tokens = Int32Array.from({ length: 28 }, (_, t) => (t * t) % 23)
  const targets = Int32Array.from({ length: 28 }, (_, t) => (t * 5) % 11)
  /** All gradients after each step, which has its own coefficient. */
  const gradientsOf = async (start: number, coefficients: readonly number[], isConstant: boolean) => {
    const config = configOf(start)
    const shape = { batch: 4, microBatches: passes, sequence: config.sequence }
    const store = new ParameterStore(cpuMemory, parameterSpecs(config), 0, gradientScratch(config, shape))
    await initialize(store, 3, initialScales({ model: config, train: runSchema.parse({}).train }))
    const balance = isConstant ? undefined : (step: number) => coefficients[step - 1] as number
    const program = await GradientProgram.compile({ runtime, kernels, config, store, shape, balance }, 0)
    const gradients: Float32Array[] = []
    for (const step of coefficients.keys()) {
      await program.run(step + 1, { tokens, targets })
      gradients.push(Float32Array.from(store.specs.flatMap(({ name }) => [...floatsOf(store.gradient(name))])))
    }
    program.release()
    return gradients
  }
  const coefficients = [0.5, 0.125, 0]
  const changing = await gradientsOf(0.5, coefficients, false)
  for (const [i, coefficient] of coefficients.entries()) {
    const [expected = new Float32Array()] = await gradientsOf(coefficient, [coefficient], true)
    const worst = expected.reduce((most, value, j) => {
      return Math.max(most, Math.abs((changing[i]?.[j] as number) - value) / (1e-2 + Math.abs(value)))
    }, 0)
    expect(worst).toBeLessThan(1e-5)
    const next = changing[(i + 1) % 3] as Float32Array
    expect(Math.max(...expected.map((value, j) => Math.abs(value - (next[j] as number))))).toBeGreaterThan(1e-3)
  }
  await kernels.close()
  await runtime.close()
})
