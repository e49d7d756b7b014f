import fc from 'fast-check'
import { expect, test } from 'vitest'
import { lettersOf, placeOf } from './cells.ts'

const interval = (low: number, mean: number, high: number) =>
  lettersOf({ low, mean, high, reach: 1, tone: 'open' as const })

test('an interval in letters has its ends, its mean and zero at their places of 21', () => {
  // From −1 to 1 in steps of 0.1: −0.8 is the third letter, −0.5 the sixth, −0.2 the ninth, zero the eleventh.
  expect(interval(-0.8, -0.5, -0.2)).toBe('  ├──●──┤ │          ')
  expect(interval(-0.2, 0.1, 0.5)).toBe('        ├─┼●───┤     ')
})

test('what lies beyond the axis is an arrow', () => {
  expect(interval(-3, 0.5, 4)).toBe('←─────────┼────●────→')
})

test('any interval is 21 letters with one mean, left of zero where it is negative', () => {
  const value = fc.double({ min: -2, max: 2, noNaN: true })
  fc.assert(
    fc.property(value, value, value, (a, b, c) => {
      const [low, mean, high] = [a, b, c].toSorted((x, y) => x - y) as [number, number, number]
      const letters = [...interval(low, mean, high)]
      expect(letters).toHaveLength(21)
      expect(letters.filter((letter) => letter === '●')).toHaveLength(1)
      if (mean <= -0.1) expect(letters.indexOf('●')).toBeLessThan(10)
      if (mean >= 0.1) expect(letters.indexOf('●')).toBeGreaterThan(10)
    }),
  )
})

test('a place is half where the axis has no length', () => {
  expect(placeOf(5, 0)).toBe(0.5)
})
