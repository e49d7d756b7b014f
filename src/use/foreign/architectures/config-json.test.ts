import { expect, test } from 'vitest'
import type { Fields } from '../../../core/config/fields.ts'
import { type ModelConfig, modelSchema, windowOf } from '../../../core/model/config.ts'
import { expertName, parameterSpecs } from '../../../core/model/parameters.ts'
import { samples } from '../testing/samples.ts'
import { computationOf } from './computation.ts'
import { architectureOf, architectures, configOf, modelOf } from './config-json.ts'

/** Every tensor of a model as it is named in checkpoints. */
const oursOf = (model: ModelConfig) =>
  parameterSpecs(model).flatMap(({ name, shape, stacked }) =>
    stacked
      ? Array.from({ length: shape[0] as number }, (_, e) => ({ name: expertName(name, e), shape: shape.slice(1) }))
      : [{ name, shape }],
  )

test('every architecture has a sample', () => {
  expect(Object.keys(samples).sort()).toEqual(architectures.map(({ type }) => type).sort())
})

test.each(Object.entries(samples))(
  '%s: all keys are known, and the written configuration is read back as the same model',
  (_, config) => {
    const { model, architecture, ignored } = modelOf(config)
    expect(ignored).toEqual([])
    const written = configOf(architecture, model)
    const again = modelOf(JSON.parse(JSON.stringify(written))).model
    // A head width is written even if it is D/H.
    expect(again).toEqual({ ...model, headWidth: again.headWidth, keyValueHeads: again.keyValueHeads })
    expect(computationOf(again)).toEqual(computationOf(model))
  },
)

test.each(Object.entries(samples))(
  '%s: each number of a model is in exactly one place of their tensors',
  (_, config) => {
    const { model, architecture } = modelOf(config)
    const theirs = architecture.tensors(model)
    expect(new Set(theirs.map(({ name }) => name)).size).toBe(theirs.length)
    const covered = new Map(oursOf(model).map(({ name, shape }) => [name, { shape, places: [] as number[] }]))
    for (const { shape, parts } of theirs) {
      const columns = shape.length === 1 ? 1 : (shape.at(-1) as number)
      const rows = shape.reduce((product, size) => product * size, 1) / columns
      expect(parts.reduce((sum, part) => sum + part.rows, 0)).toBe(rows)
      for (const part of parts) {
        const ours = covered.get(part.ours)
        expect(ours, part.ours).toBeDefined()
        const { shape: of = [], places = [] } = ours ?? {}
        const width = of.length === 1 ? 1 : (of[1] as number)
        for (let row = 0; row < part.rows; row++)
          for (let column = 0; column < columns; column++)
            places.push(part.transposed ? column * width + part.at + row : (part.at + row) * width + column)
      }
    }
    for (const [name, { shape, places }] of covered) {
      const size = shape.reduce((product, dimension) => product * dimension, 1)
      expect(
        places.sort((a, b) => a - b),
        name,
      ).toEqual(Array.from({ length: size }, (_, i) => i))
    }
  },
)

/** A config.json without some keys. */
const lacking = (name: string, keys: readonly string[], more: Fields = {}): Fields =>
  Object.fromEntries(Object.entries({ ...samples[name], ...more }).filter(([key]) => !keys.includes(key)))

const windowsOf = ({ layers, ...model }: ModelConfig) =>
  Array.from({ length: layers }, (_, layer) => windowOf(model, layer))
const windowKeys = ['sliding_window', 'max_window_layers', 'layer_types']

/** The expected values are from the configuration classes of transformers. */
test('an absent key has the default of its class, and a key with null has no value', () => {
  const on = { use_sliding_window: true, num_hidden_layers: 30 }
  // Qwen2Config and Qwen3Config: sliding_window 4096, max_window_layers 28. Choir does not have windows in the last
  // layers only.
  for (const name of ['qwen2', 'qwen3']) {
    expect(() => modelOf(lacking(name, windowKeys, on))).toThrow(/unsupported max_window_layers: 28/)
    expect(windowsOf(modelOf(lacking(name, windowKeys, { ...on, num_hidden_layers: 28 })).model)).toEqual(
      Array(28).fill(null),
    )
    expect(windowsOf(modelOf({ ...lacking(name, windowKeys, on), max_window_layers: 0 }).model)).toEqual(
      Array(30).fill(4096),
    )
    expect(windowsOf(modelOf({ ...lacking(name, windowKeys, on), sliding_window: null }).model)).toEqual(
      Array(30).fill(null),
    )
    // The window is not read: files of some versions have 0 there.
    expect(
      modelOf({ ...lacking(name, windowKeys), use_sliding_window: false, sliding_window: 0 }).model.window,
    ).toBeNull()
  }
  expect(modelOf(lacking('qwen3_moe', ['sliding_window'], { use_sliding_window: true })).model.window).toBe(4096)
  expect(modelOf(lacking('dots1', ['sliding_window', 'max_window_layers'])).model.window).toBeNull()
  expect(modelOf({ ...lacking('dots1', ['sliding_window']), max_window_layers: 0 }).model.window).toBe(4096)
  expect(modelOf(lacking('mistral', ['sliding_window'])).model.window).toBe(4096)
  expect(modelOf(lacking('mixtral', ['sliding_window'])).model.window).toBeNull()

  const heads = { mistral: 8, qwen2: 32, qwen3: 32, mixtral: 8, qwen2_moe: 16, qwen3_moe: 4, dots1: 32 }
  for (const [name, count] of Object.entries(heads)) {
    const many = { num_attention_heads: 32, hidden_size: 64, head_dim: 2 }
    expect(modelOf(lacking(name, ['num_key_value_heads'], many)).model.keyValueHeads, name).toBe(count)
    expect(modelOf({ ...samples[name], ...many, num_key_value_heads: null }).model.keyValueHeads, name).toBeNull()
  }
  for (const name of ['llama', 'olmoe', 'granite', 'granitemoe', 'granitemoeshared'])
    expect(modelOf(lacking(name, ['num_key_value_heads'])).model.keyValueHeads, name).toBeNull()
  expect(modelOf(lacking('granitemoeshared', ['shared_intermediate_size'])).model.moe?.sharedHidden).toBe(0)
})

test('a model that an architecture cannot express is refused with every field that differs', () => {
  const model = modelSchema.parse({
    activation: 'swiglu',
    embeddingScale: 1,
    moe: { router: 'prototype', prototypes: 2 },
  })
  expect(() => configOf(architectureOf('mixtral'), { ...model, norm: 'layer' })).toThrow(
    /cannot express this model as mixtral: it differs in\n {2}model.norm: "layer" \(mixtral: "rms"\)/,
  )
  expect(() => configOf(architectureOf('mixtral'), model)).toThrow(
    /model.moe.router: "prototype" \(mixtral: "top-k"\)\n {2}model.moe.prototypes: 2/,
  )
})
