import { expect, test } from 'vitest'
import {
  bytes,
  compact,
  count,
  duration,
  fixed,
  flops,
  joinWords,
  listed,
  percent,
  plural,
  shortTime,
  signed,
} from './numbers.ts'

test.each([
  [0, '0'],
  [7, '7'],
  [0.25, '0.25'],
  [950, '950'],
  [999.6, '1.00k'],
  [12_345, '12.3k'],
  [99_960, '100k'],
  // Rounding to three digits may reach the next unit.
  [999_600, '1.00 M'],
  [4_123_456, '4.12 M'],
  [-4_123_456, '−4.12 M'],
  [1_384_970_000, '1.38 B'],
  [3.2e18, '3.20e+18'],
  [Number.NaN, '–'],
  [null, '–'],
])('count(%s) is %s', (value, text) => {
  expect(count(value)).toBe(text)
})

test('a number on an axis has no trailing zeros', () => {
  const shown = [0, 0.25, 950, 1000, 12_345, 20_000, 4_100_000, 1.38e9, 3.2e18, -1500, 100_000].map(compact)
  expect(shown).toEqual(['0', '0.25', '950', '1k', '12.3k', '20k', '4.1 M', '1.38 B', '3.2e+18', '−1.5k', '100k'])
})

test.each([
  [0, '0.0s'],
  [9.94, '9.9s'],
  [9.96, '10s'],
  [59.6, '1m 00s'],
  [182, '3m 02s'],
  [3599.7, '1h 00m'],
  [3900, '1h 05m'],
  [86_400 * 2 + 3 * 3600, '2d 03h'],
  [Number.NaN, '–'],
  [-1, '–'],
])('duration(%d) is %s', (value, text) => {
  expect(duration(value)).toBe(text)
})

test('short times have a unit that fits their size', () => {
  expect([0.00085, 0.0123, 1.8, 42, 182].map(shortTime)).toEqual(['850 µs', '12.3 ms', '1.80 s', '42.0 s', '3m 02s'])
})

test('bytes and operations have units, shares are percentages, and other values are a dash', () => {
  expect([0, 999, 512_000, 4_100_000, 134e6].map(bytes)).toEqual(['0 B', '999 B', '512 kB', '4.10 MB', '134 MB'])
  expect(flops(1.53e7)).toBe('15.3 MFLOP')
  expect(percent(0.031)).toBe('3.1 %')
  expect(percent(Number.NaN)).toBe('–')
  expect(fixed(Number.POSITIVE_INFINITY, 2)).toBe('–')
})

test('only a number with a non-zero digit has a sign', () => {
  expect([0.021, -0.021, -0.0001].map((value) => fixed(value, 3))).toEqual(['0.021', '−0.021', '0.000'])
  expect([0.021, -0.021, 0.0001].map((value) => signed(value, 3))).toEqual(['+0.021', '−0.021', '0.000'])
})

test('a list of many values has the first three and the last three, and a dash where a value is unknown', () => {
  expect(listed([0.421, 1])).toBe('0.42 1.00')
  expect(listed([1, 2, 3, 4, 5, 6])).toBe('1.00 2.00 3.00 4.00 5.00 6.00')
  expect(listed([1, 2, 3, 4, 5, 6, 7])).toBe('1.00 2.00 3.00 … 5.00 6.00 7.00')
  expect(listed([0.5, null, Number.NaN])).toBe('0.50 – –')
  expect([listed([]), listed([null, undefined])]).toEqual(['–', '–'])
})

test('words are joined by commas and a conjunction, and a noun is plural unless there is one', () => {
  expect([[], ['a'], ['a', 'b'], ['a', 'b', 'c']].map((words) => joinWords(words))).toEqual([
    '',
    'a',
    'a and b',
    'a, b and c',
  ])
  expect([plural(1, 'seed'), plural(1500, 'seed'), plural(2, 'loss', 'losses')]).toEqual([
    '1 seed',
    '1,500 seeds',
    '2 losses',
  ])
})
