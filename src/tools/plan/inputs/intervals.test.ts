import { expect, test } from 'vitest'
import { chanceBelow, fitWords, marginOf } from './intervals.ts'

// The ends of an 80 % interval are exceeded with 10 % each.
test('a prediction is below the ends of its 80 % interval with 10 % and 90 %', () => {
  expect(chanceBelow(100 * 1.188, 100, 1.188)).toBeCloseTo(0.9, 9)
  expect(chanceBelow(100 / 1.188, 100, 1.188)).toBeCloseTo(0.1, 9)
  expect(chanceBelow(100, 100, 1.188)).toBe(0.5)
})

// ln(34.36/31.0) = 0.1029, a deviation is ln(1.188)/1.2816 = 0.1344, and Φ(0.766) = 0.778.
test('31.0 GB fit into 34.36 GB with 78 % if the interval is a factor of 1.188', () => {
  expect(chanceBelow(34.36, 31, 1.188)).toBeCloseTo(0.778, 3)
})

test('the margin of a probability is the factor at which it is reached', () => {
  for (const probability of [0.1, 0.5, 0.78, 0.9, 0.99])
    expect(chanceBelow(marginOf(probability, 1.188), 1, 1.188)).toBeCloseTo(probability, 6)
  expect(marginOf(0.5, 1.188)).toBe(1)
  expect(marginOf(0.9, 1.188)).toBeCloseTo(1.188, 6)
})

test.each([
  [0.999, 'yes, over 99 %'],
  [0.96, 'yes, 96 %'],
  [0.778, 'probably, 78 %'],
  [0.31, 'probably not, 31 %'],
  [0.02, 'no, 2 %'],
  [0.001, 'no, under 1 %'],
])('%d in words is %s', (probability, words) => {
  expect(fitWords(probability)).toBe(words)
})
