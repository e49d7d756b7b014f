/**
 * Compares the compiled model with an independent one, the witness, for every router and layout.
 * `model-capacity.test.ts` does so for every capacity rule.
 */
import { describe, test } from 'vitest'
import { caseOf, compare, compareWithGradient, layouts, routers } from './support/model-check.ts'
import { randomCase } from './witness/generate.ts'

// ONNX Runtime rounds the scales of matmuls to float32, in float64 graphs too, so tolerances are 1e-7, not 1e-12.
describe('the compiled model agrees with the witness', () => {
  for (const router of Object.keys(routers))
    test(`${router}: loss and statistics, random settings`, async () => {
      // The cases have every capacity with every priority, and each with both layouts and both numbers of groups.
      for (let i = 0; i < 12; i++) {
        const byExperts = router === 'expert-choice'
        const capacity = (['kx', '1x', byExperts ? 'kx' : 'none'] as const)[i % 3] ?? 'kx'
        const drawn = (['choice', 'token', 'gate', 'position'] as const)[i % 4] ?? 'position'
        const ungated = router === 'hash' || router === 'random'
        const priority = byExperts || (ungated && drawn === 'gate') ? 'position' : drawn
        const given = caseOf(router, 100 + i, {
          compute: i < 6 ? 'padded' : 'ragged',
          capacity,
          factor: 0.75,
          evalFactor: 1.25,
          groups: 1 + (Math.floor(i / 3) % 2),
          priority,
          window: 1 + (i % 3),
        })
        await compare(given, 'float64', 1e-7)
      }
    })

  test('with dense layers, mixed dense and sparse layers, a shared expert, tied and untied heads', async () => {
    for (let seed = 0; seed < 8; seed++) {
      await compare(randomCase(seed, { moe: null }), 'float64', 1e-7)
      await compare(
        caseOf('top-2', seed, { every: 2, sharedHidden: 3 }, { layers: 3, tied: seed % 2 === 0 }),
        'float64',
        1e-7,
      )
    }
  })

  test('in float32, within rounding', async () => {
    for (const router of Object.keys(routers)) await compare(caseOf(router, 7), 'float32', 1e-4)
  })
})

describe('the gradient agrees with finite differences of the witness', () => {
  for (const router of Object.keys(routers))
    test(router, async () => {
      for (const [seed, compute] of layouts)
        await compareWithGradient(
          caseOf(router, seed, { compute, capacity: 'kx', factor: 0.75, evalFactor: 1 }, { layers: 2 }),
          seed,
        )
    })
})
