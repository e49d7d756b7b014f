import { expect, test } from 'vitest'
import { estimateRatio } from '../statistics.ts'
import { quotientOf } from './ratios.ts'

const spread = (middle: number, by: number) => [middle * Math.exp(by), middle, middle * Math.exp(-by)]

test('a quotient has the variance of both, and the degrees of freedom of Welch and Satterthwaite', () => {
  // Variances of the means of logarithms: 0.01 / 3 and 0.04 / 3, so (1 + 4)² / (1/2 + 16/2) = 2.941 degrees.
  const quotient = quotientOf(spread(1.5, 0.1), spread(1.2, 0.2))
  expect(quotient?.mean).toBeCloseTo(1.25, 12)
  const half = Math.log((quotient?.interval?.[1] ?? 0) / 1.25)
  // t at 97.5 % is 3.18 with 3 degrees and 4.30 with 2: a little above the former.
  expect(half / Math.sqrt(0.05 / 3)).toBeCloseTo(3.22, 1)
  expect(quotient?.p).toBeGreaterThan(0.05)
})

test('where one of the two is known exactly, the interval is that of the other', () => {
  const known = quotientOf(spread(1.5, 0.1), [1, 1, 1, 1])
  const alone = estimateRatio(spread(1.5, 0.1))
  expect(known?.interval?.[0]).toBeCloseTo(alone?.interval?.[0] ?? 0, 9)
  expect(known?.p).toBeCloseTo(alone?.p ?? 0, 9)
})

test('a single measurement has no interval, and none or one of nought no quotient', () => {
  expect(quotientOf([1.5, 1.4], [1.2])).toMatchObject({ interval: null, p: null })
  expect(quotientOf([1.5, 1.4], [])).toBeNull()
  expect(quotientOf([1.5, 0], [1.2])).toBeNull()
})
