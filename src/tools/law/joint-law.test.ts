import { expect, test } from 'vitest'
import { type Coefficients, differenceAt, lossAt, saturated } from './joint-law.ts'
import { publishedLaw, publishedLawCovers } from './published.ts'

/** Table 4 of Ludziejewski et al. 2025: the same law for a fixed number of experts, m·N^µ + n·D^ν + c. */
const table4 = [
  [1, 30.364, -0.1817, 53.9838, -0.1965],
  [2, 27.7982, -0.178, 66.8401, -0.2065],
  [4, 24.8462, -0.1731, 87.7022, -0.2192],
  [8, 21.833, -0.1676, 119.9126, -0.2338],
  [16, 19.0159, -0.1617, 167.5073, -0.2494],
  [32, 16.5424, -0.1557, 234.6726, -0.2652],
] as const

test.each(table4)(
  'the published law with %i experts agrees with its own table for this number',
  (experts, m, mu, n, nu) => {
    // The table has four digits of the exponents, which are 1e-4 · ln N = 0.2 % of a term.
    for (const [active, tokens] of [
      [1e8, 2e9],
      [1e9, 2e10],
    ] as const)
      expect(lossAt(publishedLaw, { active, tokens, experts })).toBeCloseTo(
        m * active ** mu + n * tokens ** nu + 1.3637,
        2,
      )
  },
)

test('the transform is its start for a dense model, rises, stays below its maximum, and is E itself without either', () => {
  const transform = { start: 2, max: 50 }
  expect(saturated(1, transform)).toBeCloseTo(2, 12)
  const values = [2, 8, 64, 1e4].map((experts) => saturated(experts, transform))
  expect(values).toEqual(values.toSorted((a, b) => a - b))
  expect(Math.max(...values)).toBeLessThan(50)
  expect(saturated(8, { start: 1, max: null })).toBeCloseTo(8, 12)
})

test('the loss is the formula as it is written', () => {
  const law: Coefficients = { ...publishedLaw, start: 1, max: null }
  const [n, d, e] = [3e5, 2e7, 4]
  const x = Math.log(e)
  const written =
    law.a * e ** law.delta * n ** (law.alpha + law.gamma * x) +
    law.b * e ** law.omega * d ** (law.beta + law.zeta * x) +
    law.c
  expect(lossAt(law, { active: n, tokens: d, experts: e })).toBeCloseTo(written, 10)
  expect(differenceAt(law, { active: n, tokens: d, experts: 1 })).toBe(0)
})

test('the gain is the formula as it is written, zero up to the onset, and above zero from there on', () => {
  const law: Coefficients = { ...publishedLaw, delta: 0, gamma: 0, omega: 0, zeta: 0, start: 1, max: null }
  const withGain = { ...law, kappa: 0.8, nu: -0.25, onset: 3e6 }
  const point = { active: 3e5, tokens: 2e7, experts: 4 }
  const gain = 0.8 * Math.log(4) * 3e5 ** -0.25 * Math.log(2e7 / 3e6)
  expect(lossAt(withGain, { ...point, experts: 1 })).toBe(lossAt(law, point))
  expect(differenceAt(withGain, point)).toBeCloseTo(-gain, 12)
  for (const experts of [2, 8, 32]) {
    for (const tokens of [1, 1e5, 3e6]) expect(differenceAt(withGain, { ...point, tokens, experts })).toBeCloseTo(0, 12)
    for (const tokens of [3.1e6, 1e9]) expect(differenceAt(withGain, { ...point, tokens, experts })).toBeLessThan(0)
  }
})

test('in a limited gain, the maximum of Ê grows with the tokens for each active parameter', () => {
  const law: Coefficients = { ...publishedLaw, delta: 0, gamma: 0, omega: 0, zeta: 0, start: 1, max: null }
  const gain = { ...law, kappa: 0.8, nu: -0.25, onset: 3e6 }
  const limited = { ...gain, share: 2 }
  const at = { active: 1e6, tokens: 5e6 }
  // The maximum is 1 + 2·5, so by equation 4: 1/Ê = 1/(E − 1 + 11/10) + 1/11.
  const written = (transformed: number) => -0.8 * Math.log(transformed) * 1e6 ** -0.25 * Math.log(5 / 3)
  expect(differenceAt(limited, { ...at, experts: 11 })).toBeCloseTo(written(1 / (1 / 11.1 + 1 / 11)), 12)
  expect(differenceAt(limited, { ...at, experts: 1e9 })).toBeCloseTo(written(11), 8)
  expect(lossAt(limited, { ...at, experts: 1 })).toBeCloseTo(lossAt(law, { ...at, experts: 1 }), 12)
  // With enough text, all of them count.
  const long = { active: 1e6, tokens: 1e15, experts: 8 }
  expect(differenceAt(limited, long) / differenceAt(gain, long)).toBeCloseTo(1, 6)
})

test('the published law covers what its authors trained', () => {
  expect(publishedLawCovers({ active: 1e9, tokens: 2e10, experts: 8 })).toBe(true)
  expect(publishedLawCovers({ active: 1e6, tokens: 2e10, experts: 8 })).toBe(false)
  expect(publishedLawCovers({ active: 1e9, tokens: 2e10, experts: 64 })).toBe(false)
})
