import { expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import { modelLine, routingLine } from './summary.ts'

test.each([
  [{}, '4 heads'],
  [{ keyValueHeads: 4 }, '4 heads'],
  [{ heads: 32, headWidth: 128, keyValueHeads: 8 }, '32 heads (8 for keys and values) of 128'],
  [{ window: 64 }, '4 heads with a window of 64'],
  [{ window: 64, fullEvery: 4 }, '4 heads with a window of 64 in 3 of 4 layers'],
])('the line of a model names shared keys and values, head width and windows, if it has them: %o', (model, heads) => {
  expect(modelLine(runSchema.parse({ model }))).toBe(`4 layers of width 256, ${heads}, sequence 256, vocabulary 4,096`)
})

test.each([
  [{ moe: null }, 'none; dense layers of 1024'],
  [{ moe: null, layer: {} }, 'none; mine in every layer'],
  [{ moe: null, layer: { every: 2, from: 1 } }, 'none; mine in every 2nd layer from layer 1 on; dense layers of 1024'],
  [
    { moe: { every: 2 }, layer: { every: 2, from: 1 } },
    /^8, each 1024 wide, in every 2nd layer, .*; mine in every 2nd layer from layer 1 on$/,
  ],
])("the line of the experts names the user's own layer: %o", (model: { layer?: object; moe: object | null }, text) => {
  const layer = model.layer ? { own: 'mine@0123456789abcdef', ...model.layer } : null
  expect(routingLine(runSchema.parse({ model: { ...model, layer } }))).toEqual(
    typeof text === 'string' ? text : expect.stringMatching(text),
  )
})
