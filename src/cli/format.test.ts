import { describe, expect, test } from 'vitest'
import { bytes, count, duration, fixed, flops, percent, table, widthOf, wrap } from './format.ts'

describe('numbers for people', () => {
  test.each([
    [0, '0'],
    [7, '7'],
    [0.25, '0.3'],
    [950, '950'],
    [999.6, '1.00k'],
    [12_345, '12.3k'],
    [99_960, '100k'],
    // Rounding to three digits may reach the next unit.
    [999_600, '1.00 M'],
    [4_123_456, '4.12 M'],
    [1_384_970_000, '1.38 B'],
    [Number.NaN, '–'],
  ])('count(%d) is %s', (value, text) => {
    expect(count(value)).toBe(text)
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

  test('units and shares', () => {
    expect(bytes(134e6)).toBe('134 MB')
    expect(flops(1.53e7)).toBe('15.3 MFLOP')
    expect(percent(0.031)).toBe('3.1%')
    expect(percent(Number.NaN)).toBe('–')
    expect(fixed(Number.POSITIVE_INFINITY, 2)).toBe('–')
  })
})

describe('layout', () => {
  test('columns align whatever their colours', () => {
    expect(
      table(
        [
          ['a', '1'],
          ['\x1b[1mbbb\x1b[22m', '22'],
        ],
        'lr',
      ).map(widthOf),
    ).toEqual([7, 7])
  })

  test('wrapped lines keep the words and the line breaks', () => {
    expect(wrap('one two three\n\nfour', 8)).toEqual(['one two', 'three', '', 'four'])
    expect(wrap('incomprehensible', 4)).toEqual(['incomprehensible'])
  })
})
