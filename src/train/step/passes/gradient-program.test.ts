/** Gradients of a step: rows that a kernel adds after the program, and a coefficient that changes by the step. */

import { expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import { add, multiply, remainder, square } from '../../../core/graph/ops/elementwise.ts'
import { softmax } from '../../../core/graph/ops/fused.ts'
import { gradient } from '../../../core/graph/ops/gradient.ts'
import { gather } from '../../../core/graph/ops/indexing.ts'
import { matmul } from '../../../core/graph/ops/matmul.ts'
import { topK } from '../../../core/graph/ops/order.ts'
import { sum } from '../../../core/graph/ops/reduction.ts'
import { reshape } from '../../../core/graph/ops/shape.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { Tensor } from '../../../core/graph/tensor.ts'
import { modelSchema } from '../../../core/model/config.ts'
import { ownLayers } from '../../../core/model/own/layer.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import { ownRouters } from '../../../core/model/routing/own.ts'
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

/** A layer whose table has wider rows than the model, and is looked up twice. */
const layerId = `tables@${'0'.repeat(16)}`
ownLayers.register(layerId, {
  name: 'tables',
  parameters: ({ width }) => ({
    table: { shape: [23, 5, width], init: 'normal' },
    down: { shape: [width, width], init: 'branch' },
  }),
  apply({ x_TD, tokens_T, weights: { table, down } }) {
    const rows_T5D = add(gather(table as Tensor, tokens_T), gather(table as Tensor, remainder(tokens_T, 3)))
    return matmul(multiply(x_TD, sum(square(rows_T5D), { axes: [1] })), down as Tensor)
  },
})
/** A router that looks its logits up. */
const routerId = `table@${'0'.repeat(16)}`
ownRouters.register(routerId, {
  name: 'table',
  parameters: ({ moe }) => ({ weight: { shape: [23, moe.experts], init: 'normal' } }),
  choose({ moe, tokens_T, weights }) {
    const logits_TN = gather(weights.weight as Tensor, tokens_T)
    const probability_TN = softmax(logits_TN)
    const [gate_TK, expert_TK] = topK(probability_TN, moe.k)
    const byPrototype = [logits_TN.shape[0] as number, 1, moe.experts]
    const [logits_TZN, probability_TZN] = [reshape(logits_TN, byPrototype), reshape(probability_TN, byPrototype)]
    return { expert_TK, gate_TK, logits_TZN, probability_TZN }
  },
})

const moe = { experts: 2, hidden: 8, capacity: 'none' }
const cases = [
  { words: 'tied, rotary', settings: { tied: true, positions: 'rotary', moe }, tables: ['embedding'] },
  { words: 'rotary', settings: { tied: false, positions: 'rotary', moe }, tables: ['embedding', 'head'] },
  { words: 'tied, learned', settings: { tied: true, positions: 'learned', moe }, tables: ['embedding', 'positions'] },
  { words: 'learned', settings: { positions: 'learned', moe }, tables: ['embedding', 'positions', 'head'] },
  {
    words: 'three layers of the user',
    settings: { positions: 'learned', layers: 3, layer: { own: layerId }, moe: null },
    tables: ['embedding', 'positions', ...[0, 1, 2].map((layer) => `layers.${layer}.own.table`), 'head'],
  },
  {
    words: 'six routers of the user with more experts than the width of the model',
    settings: { layers: 2, moe: { ...moe, router: 'own', own: routerId, experts: 40, attention: 'all' } },
    tables: [
      'embedding',
      ...[0, 1].flatMap((layer) =>
        ['attention.qkv', 'attention.output', 'moe'].map((module) => `layers.${layer}.${module}.router`),
      ),
      'head',
    ],
  },
]

for (const { words, settings, tables: names } of cases)
  test(`rows added outside the graph give its gradients: ${words}`, async () => {
    const size = { vocabulary: 23, layers: 1, width: 12, heads: 2, sequence: 7 }
    const config = modelSchema.parse({ ...size, ...settings })
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
    const tables = traced.parameters.used.filter(({ spec }) => names.includes(spec.name))
    expect(tables.map(({ spec }) => spec.name)).toEqual(expect.arrayContaining(names))
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
