/** Compares generation with int8 weights with the loop-by-loop witness, which has the rounded weights in float64. */
import { afterAll, describe, expect, test } from 'vitest'
import { type CaseOverrides, randomCase } from '../../../../test/witness/generate.ts'
import { witnessForward } from '../../../../test/witness/model.ts'
import { int8Parameters } from '../../../core/model/int8-matrices.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { generationConfig } from '../../../train/step/capacity-rules.ts'
import { ParameterStore } from '../../../train/step/store.ts'
import { Generator } from '../generation/generator.ts'
import { tokenScratch } from '../generation/token-decoder.ts'
import { expectInt8, Int8Weights, int8Scratch } from './int8-weights.ts'

const runtime = await createRuntime({ threads: 2 })
afterAll(() => runtime.close())

const wide = { width: 72, heads: 4, hidden: 90, sequence: 24, vocabulary: 50 } as const
const moe = { router: 'top-k', k: 2, experts: 4, hidden: 70 } as const
const kinds: Record<string, CaseOverrides> = {
  'dense, SwiGLU, shared heads of keys, tied head': {
    model: { ...wide, activation: 'swiglu', keyValueHeads: 2, tied: true },
    moe: null,
  },
  'dense, GELU, learned positions, biases': {
    model: { ...wide, activation: 'gelu', positions: 'learned', attentionBias: 'all', tied: false },
    moe: null,
  },
  'top-2, GELU, a window': { model: { ...wide, activation: 'gelu', window: 5 }, moe },
  'top-1 of two prototypes, SwiGLU': {
    model: { ...wide, activation: 'swiglu' },
    moe: { ...moe, router: 'prototype', k: 1, prototypes: 2 },
  },
  'a gated shared expert, dense layers between': {
    model: { ...wide, layers: 3 },
    moe: { ...moe, every: 2, sharedHidden: 40, sharedGate: true },
  },
}

async function int8Model(seed: number, overrides: CaseOverrides) {
  const drawn = randomCase(seed, {
    ...overrides,
    ...(overrides.moe && { moe: { capacity: 'none', groups: 1, ...overrides.moe } }),
  })
  const config = generationConfig(drawn.config)
  const store = new ParameterStore(cpuMemory, parameterSpecs(config), null, tokenScratch(config) + int8Scratch(config))
  const key = (name: string) => name.replace('.{e}', '')
  for (const { name } of store.specs)
    floatsOf(store.parameter(name)).set((drawn.parameters.get(key(name)) as { data: Float64Array }).data)
  const int8 = await Int8Weights.round(config, store)
  const parameters = new Map(
    store.specs.map(({ name, shape }) => [
      key(name),
      { shape, data: Float64Array.from(floatsOf(store.parameter(name))) },
    ]),
  )
  return { config, store, int8, drawn: drawn.parameters, parameters }
}

describe('with int8 weights', () => {
  for (const [name, overrides] of Object.entries(kinds))
    test(`greedy text has the most probable tokens of the rounded model: ${name}`, async () => {
      const { config, store, int8, parameters } = await int8Model(3, overrides)
      const generator = new Generator(runtime, config, store, false, int8)
      // One prompt is read token by token, the other in a pass.
      for (const length of [2, 18]) {
        const text = Array.from({ length }, (_, i) => (7 * i + 1) % config.vocabulary)
        const greedy = { temperature: 0, topK: 0, topP: 1 }
        for await (const token of generator.tokens(text.slice(), config.vocabulary, greedy, 1))
          if (text.push(token) === config.sequence) break
        const tokens = Int32Array.from(text)
        const forward = { config, parameters, tokens, targets: tokens, batch: 1, training: false }
        const { logits } = witnessForward(forward)
        for (let t = length; t < text.length; t++) {
          const row = logits.subarray((t - 1) * config.vocabulary, t * config.vocabulary)
          const largest = Math.max(...row.map(Math.abs))
          expect(row[text[t] as number], `${length}, ${t}`).toBeGreaterThan(Math.max(...row) - 1e-3 * largest)
        }
      }
      generator.release()
    })

  test('routers, norms, biases and tables stay float32; all matrices that a token multiplies with are rounded', async () => {
    const { store, drawn, config } = await int8Model(
      4,
      kinds['a gated shared expert, dense layers between'] as CaseOverrides,
    )
    const rounded = new Set(int8Parameters(config).map(({ spec }) => spec.name))
    for (const { name } of store.specs) {
      const before = Float32Array.from((drawn.get(name.replace('.{e}', '')) as { data: Float64Array }).data)
      const isEqual = floatsOf(store.parameter(name)).every((value, i) => value === before[i])
      expect(isEqual, name).toBe(!rounded.has(name))
      const isMatrix = /(qkv|output|up|gate|down|^head)$/.test(name)
      expect(rounded.has(name), name).toBe(isMatrix)
    }
  })
})

test('int8 weights are refused on a device, and for experts in attention', () => {
  const { config } = randomCase(5, { moe: { experts: 4, attention: 'qkv' } })
  const dense = randomCase(5, { moe: null }).config
  expect(() => expectInt8({ device: 'webgpu' } as Runtime, dense)).toThrow(
    'invalid weights: "int8" is for the CPU (expected the device "cpu", or the weights "float32")',
  )
  expect(() => expectInt8(runtime, config)).toThrow('invalid weights: "int8" is not for experts in attention')
})
