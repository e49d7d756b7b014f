/** Random cases are reproducible, valid, and varied enough to reach every setting. */
import { describe, expect, test } from 'vitest'
import { moeSchema } from '../../src/core/model/config/moe-config.ts'
import { randomCase } from './generate.ts'
import { witnessForward } from './model.ts'

describe('random cases', () => {
  const seeds = Array.from({ length: 150 }, (_, seed) => seed)
  const total = (values: readonly number[]) => values.reduce((a, b) => a + b)

  test('are finite, count every assignment, and respect the capacity of every expert', () => {
    for (const seed of seeds) {
      const { config, tokens, ...rest } = randomCase(seed)
      const { moe } = config
      if (!moe) throw new Error('internal: a dense case')
      const output = witnessForward({ config, tokens, ...rest })
      const message = `seed ${seed}`
      expect(output.logits.every(Number.isFinite), message).toBe(true)
      expect(output.loss, message).toBeGreaterThan(0)
      expect(output.total, message).toBeGreaterThanOrEqual(output.loss)
      expect(output.layers.size, message).toBe(Math.floor((config.layers - moe.from) / moe.every))
      for (const { counts, kept, capacity, entropy } of output.layers.values()) {
        const seats = (capacity ?? Number.POSITIVE_INFINITY) * moe.groups
        // With `expert-choice`, each expert takes as many tokens as it has seats.
        const requested = moe.router === 'expert-choice' ? moe.experts * seats : tokens.length * moe.prototypes * moe.k
        expect(total(counts), message).toBe(requested)
        for (const [expert, load] of kept.entries())
          expect(load, message).toBeLessThanOrEqual(Math.min(counts[expert] ?? 0, seats))
        expect(entropy, message).toBeGreaterThanOrEqual(0)
        expect(entropy, message).toBeLessThanOrEqual(Math.log(moe.experts / moe.prototypes) + 1e-12)
      }
    }
  })

  test('together reach every setting, and drop some assignments', () => {
    const seen = new Map<string, Set<unknown>>()
    let dropped = 0
    for (const seed of seeds) {
      const input = randomCase(seed)
      const { balance, ...moe } = input.config.moe ?? moeSchema.parse({})
      for (const [name, value] of Object.entries({ ...input.config, ...moe, ...balance, training: input.training }))
        seen.set(name, (seen.get(name) ?? new Set()).add(value))
      for (const { counts, kept } of witnessForward(input).layers.values()) dropped += total(counts) - total(kept)
    }
    const expected = {
      positions: ['rotary', 'learned'],
      norm: ['rms', 'layer'],
      activation: ['gelu', 'swiglu'],
      tied: [true, false],
      training: [true, false],
      every: [1, 2],
      from: [0, 1],
      sharedHidden: [0, 3],
      router: ['top-k', 'switch', 'prototype', 'sinkhorn', 'bias', 'expert-choice', 'hash', 'random'],
      k: [1, 2, 3],
      prototypes: [1, 2, 3],
      softmax: ['before', 'after'],
      renormalize: [true, false],
      capacity: ['1x', 'kx', 'none'],
      priority: ['position', 'choice', 'token', 'gate'],
      window: [1, 2, 3, 4, 5],
      groups: [1, 2, 4],
      form: ['switch', 'gshard'],
    }
    for (const [name, values] of Object.entries(expected))
      expect(seen.get(name), name).toEqual(new Set<unknown>(values))
    expect(dropped).toBeGreaterThan(100)
  })

  test('with experts in attention have another router for every routed projection of a sparse layer', () => {
    for (const seed of seeds.slice(0, 30)) {
      const attention = seed % 2 === 0 ? 'qkv' : 'all'
      const input = randomCase(seed, { moe: { attention } })
      const { layers, loss } = witnessForward(input)
      const { moe } = input.config
      const message = `seed ${seed}`
      expect(Number.isFinite(loss), message).toBe(true)
      const sparse = Math.floor((input.config.layers - (moe?.from ?? 0)) / (moe?.every ?? 1))
      expect(layers.size, message).toBe(sparse * (attention === 'qkv' ? 2 : 3))
      // With `expert-choice`, the number of assignments depends on the capacity.
      if (moe?.router === 'expert-choice') continue
      for (const { counts } of layers.values())
        expect(total(counts), message).toBe(input.tokens.length * (moe?.prototypes ?? 0) * (moe?.k ?? 0))
    }
  })

  test('are fixed by their seed, and the capacity does not change the parameters', () => {
    const base = { moe: { router: 'top-k', k: 1, experts: 4 } } as const
    expect(randomCase(5, base)).toEqual(randomCase(5, base))
    const tight = randomCase(5, { moe: { ...base.moe, capacity: '1x' } })
    const free = randomCase(5, { moe: { ...base.moe, capacity: 'none' } })
    expect(tight.parameters).toEqual(free.parameters)
    expect(tight.tokens).toEqual(free.tokens)
    expect(randomCase(6, base).tokens).not.toEqual(randomCase(5, base).tokens)
  })

  test('follow their overrides, and a dense model has no sparse layer', () => {
    expect(randomCase(3, { moe: { router: 'prototype', experts: 6 } }).config.moe?.experts).toBe(6)
    expect(witnessForward(randomCase(3, { moe: null })).layers.size).toBe(0)
  })
})
