/** Planted faults of routers, and healthy routers with the noise of sampling. */
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { moeSchema } from '../../core/model/config/moe-config.ts'
import type { LayerCounts } from '../../core/model/routing/statistics.ts'
import { normalQuantile, type Random, randomFor } from '../../core/random.ts'
import { RouterHealth, WINDOW } from './router-health.ts'

type MoeInput = Partial<z.input<typeof moeSchema>>

interface Given {
  /** Share of the choices of each expert. */
  readonly shares: readonly number[]
  readonly tokens?: number
  readonly unserved?: number
  readonly gate?: number
  readonly layer?: number
}

/** Counts of a step with drawn choices. */
function stepOf(random: Random, { shares, tokens = 256, unserved = 0, gate = 0.5, layer = 0 }: Given): LayerCounts {
  const counts = new Float64Array(shares.length)
  for (let token = 0; token < tokens; token++) {
    const drawn = random.uniform()
    let [expert, upTo] = [0, shares[0] as number]
    while (drawn >= upTo && expert < shares.length - 1) upTo += shares[++expert] as number
    counts[expert] = (counts[expert] as number) + 1
  }
  return {
    ...{ layer, module: 'ffn', capacity: null, tokens: counts, kept: counts },
    ...{ largestEntropy: Math.log(shares.length), balance: 1, z: 0, entropy: 1, gate, unserved, passes: 1 },
  }
}

const moeOf = (input: MoeInput) => moeSchema.parse({ experts: 8, hidden: 16, ...input })

/** The warnings of some steps, and the step of each. */
function watched(moe: MoeInput, steps: number, at: (step: number) => Given | readonly Given[]) {
  const health = new RouterHealth(moeOf(moe))
  const random = randomFor(3, 'health')
  const found: { step: number; message: string }[] = []
  for (let step = 1; step <= steps; step++) {
    const layers = [at(step)].flat() as Given[]
    const { warnings = [] } = health.add(layers.map((given) => stepOf(random, given))) ?? {}
    for (const message of warnings) found.push({ step, message })
  }
  return found
}

const even = (experts: number): number[] => Array<number>(experts).fill(1 / experts)
/** Nearly all choices for the first experts. */
const towards = (first: number, experts: number, share = 0.95): number[] =>
  Array.from({ length: experts }, (_, e) => (e < first ? share / first : (1 - share) / (experts - first)))

describe('a fault is named within twice the window, once', () => {
  const cases: readonly [string, MoeInput, Given, RegExp][] = [
    ['one expert for all', {}, { shares: towards(1, 8) }, /layer 0: expert 0 of 8 takes 9\d % of the tokens.*balance/],
    [
      'two experts of top-2',
      { k: 2 },
      { shares: towards(2, 8) },
      /experts 0, 1 of 8 take 9\d % .*balance\.coefficient/,
    ],
    ['a dead expert', {}, { shares: [...even(7), 0] }, /experts 7 of 8 experts had no token/],
    [
      'one prototype of two',
      { router: 'prototype', prototypes: 2 },
      { shares: [...towards(1, 4), ...even(4)].map((x) => x / 2) },
      /expert 0 of 4 takes/,
    ],
    [
      'full experts',
      { capacity: 'kx' },
      { shares: even(8), unserved: 0.4 },
      /no expert computed \d\d % of the tokens.*model\.moe\.factor/,
    ],
    [
      'gates above 1',
      {},
      { shares: even(8), gate: 1.6 },
      /add up to 1\.\d\d, where gates of at most 1 add up to at most 1/,
    ],
    ['gates that are no numbers', {}, { shares: even(8), gate: Number.NaN }, /gates are not a number/],
    ['a bias that is too slow', { router: 'bias' }, { shares: towards(1, 8) }, /raise model\.moe\.biasRate/],
  ]
  test.each(cases)('%s', (_, moe, fault, expected) => {
    const begins = 130
    const found = watched(moe, 600, (step) => (step < begins ? { shares: even(8) } : fault))
    expect(found).toHaveLength(1)
    expect(found[0]?.message).toMatch(expected)
    expect(found[0]?.step).toBeLessThanOrEqual(begins + 2 * WINDOW)
  })

  test('the router of each layer is named, and a fault that comes back is named again', () => {
    const isBad = (step: number) => step <= 100 || (step > 300 && step <= 400)
    const found = watched({}, 500, (step) => [
      { shares: even(8) },
      { shares: isBad(step) ? towards(1, 8) : even(8), layer: 1 },
    ])
    expect(found.map(({ step }) => step)).toEqual([100, 400])
    for (const { message } of found) expect(message).toMatch(/^the router of layer 1: /)
  })
})

test('a fault is listed in every window while it lasts, and its end is an empty list', () => {
  const health = new RouterHealth(moeOf({}))
  const random = randomFor(3, 'health')
  const lists = Array.from({ length: 6 * WINDOW }, (_, i) => {
    const isBad = i >= WINDOW && i < 4 * WINDOW
    return health.add([stepOf(random, { shares: isBad ? towards(1, 8) : even(8) })])?.faults
  }).filter((_, i) => i % WINDOW === WINDOW - 1)
  const named = [expect.stringMatching(/^the router of layer 0: expert 0 of 8 takes/)]
  expect(lists).toEqual([undefined, named, named, named, [], undefined])
})

describe('no fault', () => {
  test('100 healthy runs with uneven loads have no warning', () => {
    for (let run = 0; run < 100; run++) {
      const random = randomFor(run, 'loads')
      const weights = Array.from({ length: 16 }, () => Math.exp(normalQuantile(random.uniform())))
      const total = weights.reduce((sum, weight) => sum + weight)
      const shares = weights.map((weight) => weight / total)
      expect(
        watched({ experts: 16 }, 200, () => ({ shares, tokens: 128, unserved: 0.08 })),
        `run ${run}`,
      ).toEqual([])
    }
  })

  test('a dense model, too few tokens for each expert, a rule that chooses, and experts that choose', () => {
    expect(new RouterHealth(null).add([])).toBeNull()
    expect(watched({ experts: 128 }, 100, () => ({ shares: [...even(127), 0], tokens: 64 }))).toEqual([])
    for (const router of ['hash', 'expert-choice'] as const)
      expect(
        watched({ router }, 100, () => ({ shares: towards(1, 8) })),
        router,
      ).toEqual([])
    // With two experts of four nothing is left to choose between.
    expect(watched({ experts: 2, k: 2 }, 100, () => ({ shares: even(2) }))).toEqual([])
  })
})
