import { expect, test } from 'vitest'
import { coefficientOfVariation, maxOverMean, median, overOthers, sumOf } from './averages.ts'

test('c_v is the population deviation over the mean, worked by hand', () => {
  // Mean 2, squares 4 + 0 + 0 + 4, deviation √2.
  expect(coefficientOfVariation([4, 2, 2, 0])).toBeCloseTo(Math.SQRT1_2, 15)
  expect(coefficientOfVariation([7, 7, 7])).toBe(0)
  // If one of N experts gets all tokens, c_v is √(N − 1).
  expect(coefficientOfVariation([0, 0, 0, 0, 60])).toBe(2)
  expect(coefficientOfVariation([1, 3])).toBe(0.5)
})

test('c_v does not change with the number of tokens, and is 0 if nothing was routed', () => {
  expect(coefficientOfVariation([400, 200, 200, 0])).toBeCloseTo(coefficientOfVariation([4, 2, 2, 0]), 15)
  expect(coefficientOfVariation([0, 0, 0])).toBe(0)
})

test('the median is the middle value, or the mean of the two in the middle, in any order', () => {
  expect(median([5, 1, 3])).toBe(3)
  expect(median([4, 1, 3, 2])).toBe(2.5)
  expect([median([7]), median([])]).toEqual([7, 0])
})

test('the maximum over the mean, and a value over the median of the others, are those worked by hand', () => {
  expect(maxOverMean([1, 2, 3])).toBe(1.5)
  expect(maxOverMean([0, 0])).toBe(1)
  expect(overOthers([2, 4, 100, 9], 3)).toBe(9 / 4)
  expect(overOthers([2], 0)).toBe(1)
  expect(sumOf(Float64Array.of(1, 2, 4))).toBe(7)
})
