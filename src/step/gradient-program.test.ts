/** Gradients completed by a kernel after the program equal those of the graph alone. */

import { expect, test } from 'vitest'
import { runSchema } from '../config/run-config.ts'
import { gradient } from '../graph/gradient.ts'
import { sizeOf } from '../graph/shape.ts'
import type { Tensor } from '../graph/tensor.ts'
import { modelSchema } from '../model/config.ts'
import { parameterSpecs } from '../model/parameters.ts'
import { floatsOf } from '../runtime/arena.ts'
import type { PortMemory } from '../runtime/contract.ts'
import { createRuntime } from '../runtime/cpu-runtime.ts'
import { cpuMemory } from '../runtime/testing/cpu-memory.ts'
import { createArenaKernels } from '../runtime/wasm/arena-kernels.ts'
import { GradientProgram, gradientScratch } from './gradient-program.ts'
import { initialize, initialScales } from './initialize.ts'
import { inputNameOf, tracePass } from './pass.ts'
import { ParameterStore } from './store.ts'

const cases = [
  { tied: true, positions: 'rotary' },
  { tied: false, positions: 'rotary' },
  { tied: true, positions: 'learned' },
  { tied: false, positions: 'learned' },
] as const

for (const settings of cases)
  test(`tied ${settings.tied}, ${settings.positions} positions: rows added outside the graph`, async () => {
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
    await program.run(1, tokens, targets)

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
