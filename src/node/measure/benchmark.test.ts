import { expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import { describeModel } from '../../core/model/describe.ts'
import { benchmark } from './benchmark.ts'

const configOf = (moe: NonNullable<RunInput['model']>['moe']) =>
  runSchema.parse({
    data: anyVocabulary,
    model: { vocabulary: 64, layers: 1, width: 32, heads: 2, sequence: 16, moe },
    train: { batch: 4 },
    runtime: { threads: 1 },
  })

test('a benchmark reports the size of the model and the parts of a step', async () => {
  const config = configOf({ experts: 4, hidden: 64, capacity: 'none' })
  const result = await benchmark(config, { steps: 3 })
  const { parameters, activeParameters } = describeModel(config.model)
  expect(result).toMatchObject({ parameters, activeParameters, dropRate: 0 })
  expect(result.tokensPerSecond).toBeCloseTo((4 * 16 * 1000) / result.stepMs, 6)
  expect(result.gradientMs).toBeGreaterThan(0)
  expect(result.updateMs).toBeGreaterThan(0)
  // The parts are medians of three steps: their sum is close to the median of the whole step, and never far above it.
  expect(result.gradientMs + result.updateMs).toBeLessThan(3 * result.stepMs)
  expect(result.mfu).toBeGreaterThan(0)
  expect(result.mfu).toBeLessThan(1)
})

test('with capacity for at most half of the assignments, at least half are dropped', async () => {
  // C = T/N · 0.5 slots per expert, so N · C is half of T.
  const { dropRate } = await benchmark(configOf({ experts: 4, hidden: 64, factor: 0.5 }), { steps: 1 })
  expect(dropRate).toBeGreaterThanOrEqual(0.5)
  expect(dropRate).toBeLessThan(1)
})
