import fc from 'fast-check'
import { expect, test } from 'vitest'
import { axisFraction, intervalText } from './interval-cells.ts'

const interval = (low: number, mean: number, high: number, reach = 1) =>
  intervalText({ low, mean, high, reach, tone: 'open' as const })

test('a drawn interval has its ends, its mean and zero at their positions among 21 characters', () => {
  // From −1 to 1 in steps of 0.1: −0.8 is the third character, −0.5 the sixth, −0.2 the ninth, zero the eleventh.
  expect(interval(-0.8, -0.5, -0.2)).toBe('  ├──●──┤ │          ')
  expect(interval(-0.2, 0.1, 0.5)).toBe('        ├─┼●───┤     ')
})

test('an end beyond the axis is an arrow', () => {
  expect(interval(-3, 0.5, 4)).toBe('←─────────┼────●────→')
})

test('a mean beyond the axis is a dot at its end after a break', () => {
  expect(interval(4, 5, 6)).toBe('          │       //●')
  expect(interval(-6, -5, 0)).toBe('●//───────┤          ')
})

test('any interval is 21 characters with one mean, left of zero if it is negative', () => {
  const value = fc.double({ min: -2, max: 2, noNaN: true })
  fc.assert(
    fc.property(value, value, value, (a, b, c) => {
      const [low, mean, high] = [a, b, c].toSorted((x, y) => x - y) as [number, number, number]
      const characters = [...interval(low, mean, high)]
      expect(characters).toHaveLength(21)
      expect(characters.filter((character) => character === '●')).toHaveLength(1)
      if (mean <= -0.1) expect(characters.indexOf('●')).toBeLessThan(10)
      if (mean >= 0.1) expect(characters.indexOf('●')).toBeGreaterThan(10)
    }),
  )
})

test('a position is one half on an axis without length', () => {
  expect(axisFraction(5, 0)).toBe(0.5)
})
