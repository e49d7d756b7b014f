/**
 * Compares heads, norms, biases, scales, rotary scaling and windows of attention with the witness.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import { attentionSettings } from './support/attention-settings.ts'
import { caseOf, compare, compareWithGradient, compile, routers, run } from './support/model-check.ts'
import { type CaseOverrides, randomCase } from './witness/generate.ts'
import { witnessForward } from './witness/model.ts'

const dense = (seed: number, model: CaseOverrides['model']) =>
  randomCase(seed, { model: { layers: 2, sequence: 8, ...model }, moe: null, batch: 2 })

describe('attention agrees with the witness', () => {
  for (const [name, model] of Object.entries(attentionSettings))
    test(`${name}: loss and gradient`, async () => {
      await compareWithGradient(dense(3, model), 3)
      for (const seed of [1, 2])
        await compare(caseOf('top-2', seed, { sharedHidden: 3 }, { layers: 2, sequence: 8, ...model }), 'float64', 1e-7)
      await compare(dense(4, model), 'float32', 1e-4)
    })

  test('with experts in attention', async () => {
    for (const [seed, [name, { attentionBias: _, ...model }]] of Object.entries(attentionSettings).entries()) {
      const router = Object.keys(routers)[seed] as string
      const given = caseOf(router, seed, { attention: 'all' }, { layers: 2, sequence: 8, ...model })
      if (name === 'norms over all heads') await compareWithGradient(given, seed)
      else await compare(given, 'float64', 1e-7)
    }
  })

  test('with a scaled branch of experts, shared or not', async () => {
    for (const sharedHidden of [0, 3])
      await compareWithGradient(caseOf('top-2', 5, { sharedHidden }, { layers: 2, residualScale: 0.22 }), 5)
  })

  test('with documents inside windows and windows inside documents', async () => {
    for (const seed of [0, 1])
      for (const window of [2, 3, 7]) {
        const given = dense(seed, {
          ...attentionSettings['two heads of keys and values'],
          layers: 3,
          window,
          fullEvery: 2,
        })
        const separator = given.config.vocabulary - 1
        const tokens = given.tokens.map((token, t) => ([4, 5, 8, 15].includes(t) ? separator : token % separator))
        await compareWithGradient({ ...given, tokens, separator }, seed)
      }
  })
})

describe('a window', () => {
  test('of W tokens reaches W − 1 tokens back in each layer that has it, and no later token', async () => {
    const given = dense(1, { ...attentionSettings['a window in every layer'], layers: 2, window: 3 })
    const compiled = await compile(given, 'float64', false)
    /** The loss at one position of the first sequence, after the token at another was changed or not. */
    const lossAt = (position: number, changed?: number) => {
      const targets = given.targets.map((_, t) => (t === position ? 1 : -1))
      const tokens = given.tokens.map((token, t) => (t === changed ? (token + 1) % given.config.vocabulary : token))
      return run(compiled, { ...given, tokens, targets }).loss?.[0]
    }
    for (const [changed, reached] of [
      [0, [0, 1, 2, 3, 4]],
      [2, [2, 3, 4, 5, 6]],
      [5, [5, 6, 7]],
    ] as const)
      expect([...Array(8).keys()].filter((t) => lossAt(t, changed) !== lossAt(t))).toEqual(reached)
    compiled.program.release()
  })

  test('as long as the sequence changes nothing', async () => {
    const settings = attentionSettings['a window in every layer']
    const [limited, free] = [dense(1, { ...settings, window: 8 }), dense(1, { ...settings, window: null })]
    expect(witnessForward(limited).loss).toBe(witnessForward(free).loss)
    await compare(limited, 'float64', 1e-7)
  })
})
