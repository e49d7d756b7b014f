import { describe, expect, test } from 'vitest'
import { normals } from '../law/testing/normals.ts'
import { bootstrapTexts, type TextGroup } from './bootstrap.ts'
import { standardDeviation } from './statistics.ts'

const groupsOf = (means: readonly number[], targets = 1000, domain = 0): TextGroup[] =>
  means.map((mean) => ({ domain, targets, total: mean * targets }))

/** Normal draws, shifted and scaled so that their mean is 0 and their variance is 1. */
const spread = (n: number): number[] => {
  const draw = normals(n)
  const values = Array.from({ length: n }, draw)
  const [middle, sd] = [values.reduce((a, b) => a + b, 0) / n, standardDeviation(values) ?? 1]
  return values.map((value) => (value - middle) / sd)
}

describe('the mean over texts', () => {
  test('of equal groups has the standard error of their mean, s over the root of n', () => {
    for (const n of [8, 20, 64]) {
      const found = bootstrapTexts(groupsOf(spread(n).map((value) => 0.5 + 0.01 * value)))
      expect(found?.mean).toBeCloseTo(0.5, 10)
      // The standard deviation of 2,000 draws has an error of 1.6 %.
      expect((found?.error ?? 0) / (0.01 / Math.sqrt(n)), `n = ${n}`).toBeCloseTo(1, 1)
      expect(found?.freedom).toBeCloseTo(n - 1, 8)
    }
  })

  test("of many equal groups has the interval of Student's t", () => {
    const found = bootstrapTexts(groupsOf(spread(64)))
    // Student's t with 63 degrees of freedom: 1.998 standard errors; an end has an error of about 4 %.
    const half = 1.998 / 8
    for (const [i, end] of [-half, half].entries()) expect((found?.interval[i] ?? 0) / end).toBeCloseTo(1, 0.8)
  })

  test('of domains has the variance within domains only: s² / k of each, times its squared share of targets', () => {
    const within = [...spread(16).map((x) => 1 + 0.02 * x), ...spread(8).map((x) => -1 + 0.05 * x)]
    const groups = within.map((mean, i): TextGroup => ({ domain: i < 16 ? 0 : 1, targets: 10, total: 10 * mean }))
    const found = bootstrapTexts(groups)
    // Two thirds of the targets are in the first domain.
    const expected = Math.hypot(((2 / 3) * 0.02) / Math.sqrt(16), ((1 / 3) * 0.05) / Math.sqrt(8))
    expect((found?.error ?? 0) / expected).toBeCloseTo(1, 1)
    expect(found?.freedom).toBeCloseTo(22, 8)
  })

  test('weighs groups by their targets', () => {
    const groups = [...groupsOf(new Array<number>(8).fill(1), 100), ...groupsOf(new Array<number>(8).fill(3), 300)]
    expect(bootstrapTexts(groups)?.mean).toBeCloseTo(2.5, 10)
  })

  test('has no interval for fewer than eight groups with targets', () => {
    const eight = groupsOf(spread(8))
    expect(bootstrapTexts(eight)).not.toBeNull()
    expect(bootstrapTexts([...eight.slice(1), { domain: 0, targets: 0, total: 0 }])).toBeNull()
  })

  test('counts the variation of domains with a single group', () => {
    const single = spread(8).map((mean, domain): TextGroup => ({ domain, targets: 10, total: 10 * mean }))
    expect((bootstrapTexts(single)?.error ?? 0) * Math.sqrt(8)).toBeCloseTo(1, 1)
    const [first, ...others] = single.map((one, i) => ({ ...one, domain: i === 0 ? 0 : 1 })) as [TextGroup]
    expect(bootstrapTexts([first, ...others])?.freedom).toBeCloseTo(7, 8)
  })

  test('is the same for the same groups, also after other groups were drawn', () => {
    const one = bootstrapTexts(groupsOf(spread(20)))
    bootstrapTexts(groupsOf(spread(9)))
    expect(bootstrapTexts(groupsOf(spread(20)))).toEqual(one)
  })
})

test('the interval contains the true effect in 95 % of texts, of equal or unequal documents, and of domains', () => {
  const effect = 0.3
  for (const { n, unequal, domains } of [
    { n: 8, unequal: 0, domains: 1 },
    { n: 12, unequal: 1, domains: 1 },
    { n: 64, unequal: 0.5, domains: 16 },
  ]) {
    const draw = normals(20_301 + n)
    const repetitions = 600
    let covered = 0
    for (let i = 0; i < repetitions; i++) {
      const groups = Array.from({ length: n }, (_, g): TextGroup => {
        const targets = 1000 * Math.exp(unequal * draw())
        return { domain: g % domains, targets, total: targets * (effect + draw()) }
      })
      const { interval } = bootstrapTexts(groups) ?? { interval: [0, 0] as const }
      if (interval[0] <= effect && effect <= interval[1]) covered++
    }
    // Three standard errors of a share of 0.95 over 600 are 0.027; the effective number of groups is an approximation.
    expect(Math.abs(covered / repetitions - 0.95), `${n} groups`).toBeLessThan(0.031)
  }
})
