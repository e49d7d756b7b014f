/**
 * Compares the compiled model with the witness under every capacity rule, with gates of shared experts, and with
 * attention that restarts at documents.
 *
 * @slow
 */
import { expect, test } from 'vitest'
import { capacityRules } from '../src/core/model/routing/contract.ts'
import { caseOf, compare, compareWithGradient, layouts, routers } from './support/model-check.ts'
import { sum } from './witness/arithmetic.ts'
import { witnessForward } from './witness/model.ts'

for (const [r, router] of Object.keys(routers).entries())
  for (const [c, capacity] of capacityRules.entries()) {
    const attention = (r + c) % 2 === 0 ? 'all' : 'none'
    test(`${router}, evaluated under the capacity rule ${capacity}, experts in attention: ${attention}`, async () => {
      const moe = { capacity: 'kx', factor: 0.5, evalFactor: 1, attention } as const
      const evaluated = { ...caseOf(router, 200 + c, moe, { layers: 2 }), training: false, capacity }
      await compare(evaluated, 'float64', 1e-7)
      const dropped = [...witnessForward(evaluated).layers.values()].map(({ counts, kept }) => sum(counts) - sum(kept))
      if (capacity === 'none') expect(Math.max(...dropped)).toBe(0)
      else if (capacity === 'train' && router !== 'expert-choice') expect(Math.max(...dropped)).toBeGreaterThan(0)
    })
  }

test('with a gate of the shared expert, and a scale of the routed experts', async () => {
  for (const [seed, compute] of layouts)
    for (const router of ['top-2', 'hash', 'expert-choice']) {
      const moe = { compute, capacity: 'kx', sharedHidden: 3, sharedGate: true, routedScale: 0.7 } as const
      await compareWithGradient(caseOf(router, seed, moe, { layers: 2 }), seed)
    }
})

test('with attention that restarts at every document', async () => {
  for (let seed = 0; seed < 8; seed++) {
    const given = caseOf('top-2', seed, { attention: seed % 2 === 0 ? 'all' : 'none' }, { layers: 2 })
    // Separators are inside a sequence, at the start of one and at the end of another.
    const separator = given.config.vocabulary - 1
    const tokens = given.tokens.map((token, t) => ([2, 3, 4].includes(t) ? separator : token % separator))
    await compareWithGradient({ ...given, tokens, separator }, seed)
  }
})
