import { expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import { modelLine } from './summary.ts'

test.each([
  [{}, '4 heads'],
  [{ keyValueHeads: 4 }, '4 heads'],
  [{ heads: 32, headWidth: 128, keyValueHeads: 8 }, '32 heads (8 for keys and values) of 128'],
  [{ window: 64 }, '4 heads with a window of 64'],
  [{ window: 64, fullEvery: 4 }, '4 heads with a window of 64 in 3 of 4 layers'],
])('the line of a model names shared keys and values, head width and windows, if it has them: %o', (model, heads) => {
  expect(modelLine(runSchema.parse({ model }))).toBe(`4 layers of width 256, ${heads}, sequence 256, vocabulary 4,096`)
})
