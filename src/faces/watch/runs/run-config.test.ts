import { expect, test } from 'vitest'
import { readRunConfig } from './run-config.ts'

const config = (model: object) => JSON.stringify({ model, train: { steps: 5 } })

test('a model with more layers than memory holds is reported, and the other fields are read', () => {
  const known = readRunConfig(config({ layers: 4_294_967_295 }))
  expect(known.problem).toMatch(/^config\.json: invalid model\.layers: 4294967295 /)
  expect(known).toMatchObject({ steps: 5, routers: null, fields: { 'model.layers': 4_294_967_295, 'train.steps': 5 } })
})

test('a model with the maximum number of layers is described', () => {
  const known = readRunConfig(config({ layers: 512 }))
  expect(known.problem).toBeUndefined()
  expect(known.routers).toEqual({ routers: 512, prototypes: 1 })
})

test("a run with the user's own layer, which the dashboard does not load, is described without its operations", () => {
  const layer = { kind: 'own', own: 'mine@0123456789abcdef', settings: { rank: 4, mode: 'fast' } }
  const stored = { model: { layers: 2, moe: null, layer }, train: { steps: 5, freeze: ['layers.0.own.a'] } }
  const known = readRunConfig(JSON.stringify(stored))
  expect(known.problem).toBeUndefined()
  expect(known).toMatchObject({ steps: 5, flopsPerToken: null, routers: null })
  expect(known.fields).toMatchObject({ 'model.layer.settings.rank': 4, 'model.layer.settings.mode': 'fast' })
})

test('the run that the first weights came from is a field', () => {
  const from = { run: '/runs/a', step: 40, weights: 'ab', differences: [{ field: 'train.steps', from: 1, to: 5 }] }
  const { fields } = readRunConfig(JSON.stringify({ from, model: { layers: 2 }, train: { steps: 5 } }))
  expect(fields).toEqual({ 'from.run': '/runs/a', 'from.step': 40, 'model.layers': 2, 'train.steps': 5 })
})

test('a field whose name is too long is left out with its contents', () => {
  const below = Object.fromEntries(Array.from({ length: 400 }, (_, field) => [`a${field}`, field]))
  const { fields } = readRunConfig(config({ layers: 2, ['k'.repeat(100_000)]: below }))
  expect(fields).toEqual({ 'model.layers': 2, 'train.steps': 5 })
})

test('the layout over ranks is among the fields, since the number of shards changes losses', () => {
  const { fields } = readRunConfig(JSON.stringify({ model: { layers: 2 }, parallel: { expert: 2, shards: 4 } }))
  expect(fields).toEqual({ 'model.layers': 2, 'parallel.expert': 2, 'parallel.shards': 4 })
})
