/**
 * Compares generation with quantized weights with the loop-by-loop witness, which has the rounded weights in float64.
 *
 * @slow
 */
import { afterAll, describe, expect, test } from 'vitest'
import { type CaseOverrides, randomCase } from '../../../../test/witness/generate.ts'
import { witnessForward } from '../../../../test/witness/model.ts'
import { quantizedBytes } from '../../../core/graph/quantized-layout.ts'
import { withKernels } from '../../../core/graph/tensor.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import { quantizedParameters } from '../../../core/model/quantized-matrices.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { generationConfig } from '../../../train/step/evaluation/capacity-rules.ts'
import { CompiledPass, tracePass } from '../../../train/step/passes/pass.ts'
import { parameterTensors } from '../../../train/step/store/named-tensors.ts'
import { ParameterStore } from '../../../train/step/store/store.ts'
import { Generator } from '../generation/generator.ts'
import { tokenScratch } from '../generation/token-memory.ts'
import { expectQuantized, QuantizedStore } from './quantized-store.ts'
import { roundMatrix } from './round-matrix.ts'
import { bitsOf, type QuantizedFormat } from './weight-format.ts'

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

/** Memory whose arenas have room for a tensor or two. */
const small = (format: QuantizedFormat) => 2 ** 24 + { bf16: 98_304, int8: 49_152, int4: 26_624 }[format]

async function quantizedModel(seed: number, overrides: CaseOverrides, format: QuantizedFormat, maxArenaBytes?: number) {
  const drawn = randomCase(seed, {
    ...overrides,
    ...(overrides.moe && { moe: { capacity: 'none', groups: 1, ...overrides.moe } }),
  })
  const config = generationConfig(drawn.config)
  const floats = new ParameterStore(cpuMemory, parameterSpecs(config), null)
  const key = (name: string) => name.replace('.{e}', '')
  for (const { name } of floats.specs)
    floatsOf(floats.parameter(name)).set((drawn.parameters.get(key(name)) as { data: Float64Array }).data)
  const store = new QuantizedStore(cpuMemory, config, format, tokenScratch(config), maxArenaBytes)
  const given = new Map(parameterTensors(floats).map(({ name, range }) => [name, floatsOf(range)]))
  for (const { name, range } of store.tensors()) {
    const values = given.get(name) as Float32Array
    // A checkpoint is read in pieces.
    for (let at = 0; at < values.length; at += 1000)
      await range.arena.write(range.start + at, values.subarray(at, at + 1000))
  }
  // The same rounding, in place, for the witness.
  for (const { spec, count, ...shape } of quantizedParameters(config, bitsOf[format]))
    for (let i = 0; i < count; i++)
      roundMatrix(
        floatsOf(floats.parameter(spec.name, spec.stacked ? i : null)),
        shape,
        shape.bits,
        new Uint8Array(quantizedBytes(shape.bits, shape.inner, shape.columns)),
      )
  const parameters = new Map(
    floats.specs.map(({ name, shape }) => [
      key(name),
      { shape, data: Float64Array.from(floatsOf(floats.parameter(name))) },
    ]),
  )
  return { config, store, floats, drawn: drawn.parameters, parameters }
}

describe.each(['bf16', 'int8', 'int4'] as const)('with %s weights', (format) => {
  for (const [name, overrides] of Object.entries(kinds))
    test(`greedy text has the most probable tokens of the rounded model: ${name}`, async () => {
      const { config, store, parameters } = await quantizedModel(3, overrides, format, small(format))
      const generator = new Generator(runtime, config, store)
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

  test('routers, norms, biases and learned positions stay float32; all matrices and the embedding table are rounded', async () => {
    const { store, drawn, config } = await quantizedModel(
      4,
      kinds['a gated shared expert, dense layers between'] as CaseOverrides,
      format,
    )
    const rounded = new Set(quantizedParameters(config, bitsOf[format]).map(({ spec }) => spec.name))
    const kept = new Set(store.specs.map(({ name }) => name))
    for (const { name } of parameterSpecs(config)) {
      const isMatrix = /(qkv|output|up|gate|down|^head|^embedding)$/.test(name)
      expect(rounded.has(name), name).toBe(isMatrix)
      expect(kept.has(name), name).toBe(!isMatrix)
      if (isMatrix) continue
      const before = Float32Array.from((drawn.get(name.replace('.{e}', '')) as { data: Float64Array }).data)
      expect(floatsOf(store.parameter(name)), name).toEqual(before)
    }
  })
})

test('a second text at the same time has memory of its own for its cache, and is the same text', async () => {
  const { config, store } = await quantizedModel(3, kinds['top-2, GELU, a window'] as CaseOverrides, 'int8')
  const [first, second] = [new Generator(runtime, config, store), new Generator(runtime, config, store)]
  const greedy = { temperature: 0, topK: 0, topP: 1 }
  const [some, same] = [first, second].map((generator) => generator.tokens([3, 1, 4], config.vocabulary, greedy, 1))
  for (let i = 0; i < 12; i++) expect((await same?.next())?.value).toBe((await some?.next())?.value)
  first.release()
  second.release()
})

test.each(['bf16', 'int8', 'int4'] as const)(
  'the loss of a pass over many tokens is that of the rounded model, in several memories: %s',
  async (format) => {
    for (const [name, overrides] of Object.entries(kinds)) {
      const { config, store, parameters } = await quantizedModel(6, overrides, format, small(format))
      // The tensors that stay float32 are in one more.
      expect(store.beside.length, name).toBeGreaterThan(2)
      const { sequence } = config
      // The logits of more than 512 rows are computed in parts.
      const batch = name === 'dense, SwiGLU, shared heads of keys, tied head' ? Math.ceil(600 / sequence) : 2
      const tokens = Int32Array.from({ length: batch * sequence }, (_, i) => (5 * i + (i >> 3)) % config.vocabulary)
      const targets = Int32Array.from(tokens, (_, i) => tokens[(i + 1) % tokens.length] as number)
      const traced = withKernels(runtime.kernels, () =>
        tracePass(config, store, { batch, sequence, training: false, capacity: 'none' }),
      )
      const pass = await CompiledPass.compile(runtime, config, traced, {}, { tokens, targets })
      await pass.run()
      const { loss } = witnessForward({ config, parameters, tokens, targets, batch, training: false })
      // A pass may round factors to bfloat16.
      expect(Math.abs(pass.loss / loss - 1), name).toBeLessThan(5e-4)
      pass.release()
    }
  },
)

test('quantized weights are refused on a device, and for experts in attention', () => {
  const { config } = randomCase(5, { moe: { experts: 4, attention: 'qkv' } })
  const dense = randomCase(5, { moe: null }).config
  expect(() => expectQuantized('int8', { device: 'webgpu' } as Runtime, dense)).toThrow(
    'invalid weights: "int8" is for the CPU (expected the device "cpu", or the weights "float32")',
  )
  expect(() => expectQuantized('int4', runtime, config)).toThrow(
    'invalid weights: "int4" is not for experts in attention',
  )
})
