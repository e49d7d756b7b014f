import { expect, test } from 'vitest'
import { estimateRatio } from '../statistics.ts'
import { intervalOf } from './claims/decision.ts'
import { effectOf, productOf } from './ratios.ts'

const spread = (middle: number, by: number) => [middle * Math.exp(by), middle, middle * Math.exp(-by)]

test('a product has the variance of both, and the degrees of freedom of Welch and Satterthwaite', () => {
  // Variances of the means of logarithms: 0.01 / 3 and 0.04 / 3, so (1 + 4)² / (1/2 + 16/2) = 2.941 degrees.
  const product = productOf(spread(1.5, 0.1), spread(1 / 1.2, 0.2))
  expect(Math.exp(product?.mean ?? 0)).toBeCloseTo(1.25, 12)
  expect(product?.error).toBeCloseTo(Math.sqrt(0.05 / 3), 12)
  expect(product?.freedom).toBeCloseTo(25 / 8.5, 9)
})

test('if one of the two is known exactly, the interval is that of the other', () => {
  const known = productOf(spread(1.5, 0.1), [1, 1, 1, 1])
  const interval = known && intervalOf(known)
  const alone = estimateRatio(spread(1.5, 0.1))
  expect(Math.exp(interval?.[0] ?? 0)).toBeCloseTo(alone?.interval?.[0] ?? 0, 9)
})

test('a product with a single measurement has no error; with none, or one of zero, there is no product', () => {
  expect(productOf([1.5, 1.4], [1.2])).toMatchObject({ error: null })
  expect(productOf([1.5, 1.4], [])).toBeNull()
  expect(productOf([1.5, 0], [1.2])).toBeNull()
  expect(effectOf([])).toBeNull()
})
