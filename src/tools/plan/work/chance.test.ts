import { describe, expect, test } from 'vitest'
import { type MoeConfig, moeSchema } from '../../../core/model/config/moe-config.ts'
import { randomFor } from '../../../core/random.ts'
import { expectedMaximum, keptTokens } from './chance.ts'
import { rankLoad } from './load.ts'

const moeOf = (over: object): MoeConfig => moeSchema.parse(over)
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length

/** Results of routing at random, averaged over steps. */
function simulate(
  {
    experts,
    k,
    capacity,
    ranks,
    tokens,
    groups = 1,
  }: Record<'experts' | 'k' | 'ranks' | 'tokens', number> & {
    capacity: number
    groups?: number
  },
  steps: number,
) {
  const random = randomFor(7, 'chance')
  const draws: { kept: number; busiest: number; cv: number }[] = []
  for (let step = 0; step < steps; step++) {
    const rows = new Array<number>(ranks).fill(0)
    let kept = 0
    const squares: number[] = []
    for (let sender = 0; sender < ranks; sender++) {
      const ofSender = new Array<number>(experts).fill(0)
      for (let group = 0; group < groups; group++) {
        const counts = new Array<number>(experts).fill(0)
        for (let token = 0; token < tokens / groups; token++) {
          const chosen = new Set<number>()
          while (chosen.size < k) chosen.add(random.integer(experts))
          for (const expert of chosen) counts[expert] = (counts[expert] ?? 0) + 1
        }
        for (const [expert, count] of counts.entries()) {
          const taken = Math.min(count, capacity)
          const rank = Math.floor((expert * ranks) / experts)
          rows[rank] = (rows[rank] ?? 0) + taken
          kept += taken
          ofSender[expert] = (ofSender[expert] ?? 0) + count
        }
      }
      const average = mean(ofSender)
      squares.push(mean(ofSender.map((count) => (count / average - 1) ** 2)))
    }
    draws.push({
      kept: kept / (k * tokens * ranks),
      busiest: (Math.max(...rows) * ranks) / kept,
      cv: Math.sqrt(mean(squares)),
    })
  }
  const of = (value: (draw: (typeof draws)[number]) => number) => mean(draws.map(value))
  return { kept: of(({ kept }) => kept), busiest: of(({ busiest }) => busiest), cv: of(({ cv }) => cv) }
}

const even = (experts: number) => new Array<number>(experts).fill(1)

describe('routing at random', () => {
  // A mean of 1.2 tokens an expert and C = ⌈1.2·1.25⌉ = 2. With Poisson's distribution, an expert keeps
  // P(1) + 2·P(≥ 2) = 0.3614 + 2·0.3374 = 1.0362 of 1.2 tokens, which is 86.4 %; and c_v is √((1 − 1/960)/1.2) = 0.912.
  test('of 1,152 tokens to 960 experts of capacity 2 drops 13.6 %, although the experts are equally likely', () => {
    const { dropped, padding, cv, tokensPerExpert } = rankLoad(
      moeOf({ experts: 960, k: 1, capacity: 'kx', factor: 1.25, compute: 'padded' }),
      even(960),
      480,
      1152,
      { sampled: true },
    )
    expect(dropped).toBeCloseTo(1 - 1.0362 / 1.2, 3)
    expect(padding).toBeCloseTo(1 - 1.0362 / 2, 3)
    expect(cv).toBeCloseTo(0.9124, 4)
    expect(tokensPerExpert).toBe(1.2)
    const exact = rankLoad(moeOf({ experts: 960, k: 1, capacity: 'kx', factor: 1.25 }), even(960), 480, 1152)
    expect(exact.dropped).toBeCloseTo(0, 12)
    expect(exact.cv).toBe(0)
  })

  test.each<[string, Record<'experts' | 'k' | 'factor' | 'ranks' | 'tokens', number> & { groups?: number }]>([
    ['top-1 with a tight capacity', { experts: 16, k: 1, factor: 1.25, ranks: 8, tokens: 64 }],
    ['top-2 of 8', { experts: 8, k: 2, factor: 1, ranks: 4, tokens: 96 }],
    ['many tokens', { experts: 8, k: 1, factor: 1.02, ranks: 8, tokens: 2048 }],
    ['groups of tokens', { experts: 8, k: 1, factor: 1.25, ranks: 4, tokens: 64, groups: 4 }],
    ['no capacity', { experts: 16, k: 1, factor: Number.POSITIVE_INFINITY, ranks: 8, tokens: 64 }],
    ['no capacity, top-4 of 8, one expert a rank', { experts: 8, k: 4, factor: Infinity, ranks: 8, tokens: 64 }],
    ['no capacity, two ranks', { experts: 8, k: 1, factor: Infinity, ranks: 2, tokens: 64 }],
  ])('keeps and distributes rows as a simulation does: %s', (_, { factor, groups = 1, ...shape }) => {
    const { experts, k, ranks, tokens } = shape
    const isLimited = Number.isFinite(factor)
    const moe = moeOf({
      experts,
      k,
      groups,
      capacity: isLimited ? 'kx' : 'none',
      ...(isLimited && { factor, compute: 'ragged' }),
    })
    const predicted = rankLoad(moe, even(experts), ranks, tokens, { sampled: true })
    const capacity = Math.ceil(((k * tokens) / groups / experts) * factor)
    const simulated = simulate({ ...shape, groups, capacity }, Math.round(6e5 / (tokens * ranks * k)))
    expect(Math.abs(1 - predicted.dropped - simulated.kept)).toBeLessThan(0.002)
    expect(Math.abs(predicted.imbalance / simulated.busiest - 1)).toBeLessThan(0.01)
    expect(Math.abs(predicted.cv / simulated.cv - 1)).toBeLessThan(0.02)
    expect(predicted.rows).toBeCloseTo(k * tokens * (1 - predicted.dropped) * predicted.imbalance, 6)
  })

  test('does not vary if every token goes to every expert, or if experts choose', () => {
    const all = rankLoad(moeOf({ experts: 4, k: 4, capacity: 'none' }), even(4), 4, 64, { sampled: true })
    expect(all).toMatchObject({ imbalance: 1, cv: 0, dropped: 0 })
    const choose = moeOf({ experts: 4, router: 'expert-choice', factor: 1 })
    expect(rankLoad(choose, even(4), 4, 64, { sampled: true })).toEqual(rankLoad(choose, even(4), 4, 64))
  })

  test('never keeps more rows on a rank than it has slots', () => {
    const moe = moeOf({ experts: 4, k: 1, capacity: 'kx', factor: 1, compute: 'ragged' })
    expect(rankLoad(moe, [3.7, 0.1, 0.1, 0.1], 4, 64, { sampled: true }).rows).toBeLessThanOrEqual(4 * 16)
  })
})

describe('the tokens that an expert keeps', () => {
  // Binomial with n = 3, p = 1/2: 1, 3, 3, 1 of 8. min(X, 1) is 0 in 1 of 8 cases.
  test('are the binomial counts up to the capacity', () => {
    const { mean: kept, variance } = keptTokens(3, 0.5, 1)
    expect(kept).toBeCloseTo(7 / 8, 12)
    expect(variance).toBeCloseTo(7 / 64, 12)
  })

  test('are continuous where the sum over counts ends and the normal distribution begins', () => {
    const p = 0.01
    for (const factor of [0.9, 1, 1.1]) {
      const kept = (tokens: number) => keptTokens(tokens, p, tokens * p * factor).mean / (tokens * p)
      const last = 100 / (p * (1 - p))
      expect(Math.abs(kept(last * 1.0001) / kept(last * 0.9999) - 1)).toBeLessThan(1e-3)
    }
  })

  test('are finite for a likely expert of very many tokens', () => {
    for (const [tokens, p] of [
      [1e6, 0.9999],
      [1e6, 1e-9],
      [1e9, 0.5],
      [10, 1],
      [0, 0.5],
    ] as const) {
      const { mean: kept, variance } = keptTokens(tokens, p, tokens / 2)
      expect(kept).toBeGreaterThanOrEqual(0)
      expect(kept).toBeLessThanOrEqual(tokens / 2)
      expect(variance).toBeGreaterThanOrEqual(0)
    }
  })
})

describe('the expected maximum', () => {
  // Tables of order statistics: 0.5642 for two standard normal numbers, 0.8463 for three, 1.5388 for ten.
  test.each([
    [2, 0.5642],
    [3, 0.8463],
    [10, 1.5388],
    [100, 2.5076],
  ])('of %d standard normal numbers is %d', (count, expected) => {
    expect(expectedMaximum(new Array(count).fill({ mean: 0, variance: 1 }))).toBeCloseTo(expected, 3)
  })

  // E max(X, Y) = a·Φ(d) + b·Φ(−d) + s·φ(d), s² = 1 + 4, d = (a − b)/s (Clark 1961): 1·0.6726 + 0·0.3274 + 2.236·0.3610.
  test('of two numbers of different mean and variance is the formula of Clark', () => {
    expect(
      expectedMaximum([
        { mean: 1, variance: 1 },
        { mean: 0, variance: 4 },
      ]),
    ).toBeCloseTo(1.4797, 2)
  })

  test('of one number is its mean, and of numbers without variance the largest', () => {
    expect(expectedMaximum([{ mean: 3, variance: 9 }])).toBe(3)
    expect(expectedMaximum([3, 5, 4].map((value) => ({ mean: value, variance: 0 })))).toBe(5)
  })
})
