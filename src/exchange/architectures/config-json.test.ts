import { expect, test } from 'vitest'
import { type ModelConfig, modelSchema } from '../../model/config.ts'
import { expertName, parameterSpecs } from '../../model/parameters.ts'
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
  '%s: all keys are known, and what is written reads as the same model',
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
