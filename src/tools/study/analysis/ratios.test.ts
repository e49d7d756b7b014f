import { expect, test } from 'vitest'
import { normals } from '../../law/testing/normals.ts'
import { bootstrapTexts } from '../bootstrap.ts'
import { estimateRatio, mean } from '../statistics.ts'
import { intervalOf } from './claims/decision.ts'
import { effectOf, productOf, withError } from './ratios.ts'

const spread = (middle: number, by: number) => [middle * Math.exp(by), middle, middle * Math.exp(-by)]

test('a product has the variances of both factors, and the degrees of freedom of Welch and Satterthwaite', () => {
  // Variances of the means of logarithms: 0.01 / 3 and 0.04 / 3, so (1 + 4)² / (1/2 + 16/2) = 2.941 degrees.
  const product = productOf(spread(1.5, 0.1), spread(1 / 1.2, 0.2))
  expect(Math.exp(product?.mean ?? 0)).toBeCloseTo(1.25, 12)
  expect(product?.error).toBeCloseTo(Math.sqrt(0.05 / 3), 12)
  expect(product?.freedom).toBeCloseTo(25 / 8.5, 9)
})

test('if one factor is known exactly, the product has the interval of the other factor', () => {
  const known = productOf(spread(1.5, 0.1), [1, 1, 1, 1])
  const interval = known && intervalOf(known)
  const alone = estimateRatio(spread(1.5, 0.1))
  expect(Math.exp(interval?.[0] ?? 0)).toBeCloseTo(alone?.interval?.[0] ?? 0, 9)
})

test('the interval of a product is never narrower than that of its seeds, and missing if the seeds have none', () => {
  const [seeds, turns] = [[1.5, 1.4], spread(0.8, 0.05)]
  // Two seeds have one degree of freedom, t = 12.706; with the turns Welch and Satterthwaite give 2.8.
  const half = (12.7062 * Math.log(1.5 / 1.4)) / 2
  const product = productOf(seeds, turns)
  const [low, high] = (product && intervalOf(product)) ?? [0, 0]
  expect((low + high) / 2).toBeCloseTo(Math.log(Math.sqrt(1.5 * 1.4) * 0.8), 9)
  expect((high - low) / 2).toBeCloseTo(half, 4)
  const open = productOf(seeds, turns, 'anytime')
  expect(open && intervalOf(open)).toBeNull()
})

test('a product of a factor measured once has no error; without a measurement, or with a zero, it is null', () => {
  expect(productOf([1.5, 1.4], [1.2])).toMatchObject({ error: null })
  expect(productOf([1.5, 1.4], [])).toBeNull()
  expect(productOf([1.5, 0], [1.2])).toBeNull()
  expect(effectOf([])).toBeNull()
})

test('an interval over seeds and documents contains the true effect in 95 % of studies', () => {
  const effect = 0.3
  const repetitions = 600
  for (const { seeds, texts } of [
    { seeds: 1, texts: 0.3 },
    { seeds: 0.3, texts: 1 },
    { seeds: 0.5, texts: 1 },
  ]) {
    const draw = normals(77)
    let covered = 0
    for (let i = 0; i < repetitions; i++) {
      const [ofSeeds, ofTexts] = [4, 16].map((n) => Array.from({ length: n }, draw)) as [number[], number[]]
      const [seedMean, textMean] = [ofSeeds, ofTexts].map((values) => mean(values) ?? 0) as [number, number]
      // Every seed has the same documents, and every document the same seeds.
      const bySeed = effectOf(ofSeeds.map((value) => effect + seeds * value + texts * textMean))
      const byText = bootstrapTexts(
        ofTexts.map((value) => ({ domain: 0, targets: 1, total: effect + texts * value + seeds * seedMean })),
      )
      const interval = bySeed && byText && intervalOf(withError(bySeed, byText))
      if (interval && interval[0] <= effect && effect <= interval[1]) covered++
    }
    // Three standard errors of a share of 0.95 over 600 are 0.027; degrees of freedom are approximate.
    expect(Math.abs(covered / repetitions - 0.95), `${seeds} and ${texts}`).toBeLessThan(0.035)
  }
})
