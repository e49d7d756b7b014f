import fc from 'fast-check'
import { expect, test } from 'vitest'
import { linearTicks, logTicks } from './ticks.ts'

const labels = (ticks: readonly { readonly label: string }[]) => ticks.map(({ label }) => label).filter(Boolean)

test('ticks are round numbers with the digits that they need', () => {
  expect(labels(linearTicks(0, 1, 5))).toEqual(['0', '0.2', '0.4', '0.6', '0.8', '1.0'])
  expect(labels(linearTicks(-0.05, 0.06, 5))).toEqual(['−0.04', '−0.02', '0', '0.02', '0.04', '0.06'])
  expect(labels(linearTicks(0, 25_000, 5))).toEqual(['0', '5k', '10k', '15k', '20k', '25k'])
  expect(labels(linearTicks(0, 2.1e6, 4))).toEqual(['0', '0.5 M', '1.0 M', '1.5 M', '2.0 M'])
})

test('logarithmic ticks are decades, or 1, 2, 5 if there are few decades, with unlabelled ticks between', () => {
  expect(labels(logTicks(0.9, 1.1e6, 8))).toEqual(['1', '10', '100', '1,000', '10k', '100k', '1 M'])
  expect(labels(logTicks(9, 110, 8))).toEqual(['10', '20', '50', '100'])
  expect(labels(logTicks(4.1, 4.4, 4))).toEqual(['4.1', '4.2', '4.3', '4.4'])
  expect(logTicks(0.9, 110, 4).filter(({ label }) => label === '').length).toBeGreaterThan(10)
})

test('there are no ticks in a range that is empty, infinite, or without a logarithm', () => {
  expect(linearTicks(1, 1, 5)).toEqual([])
  expect(linearTicks(0, Number.POSITIVE_INFINITY, 5)).toEqual([])
  expect(logTicks(0, 10, 5)).toEqual([])
  expect(logTicks(-1, 10, 5)).toEqual([])
  // With its margin, a range up to 1e308 ends at infinity.
  expect(logTicks(1e-300, Number.POSITIVE_INFINITY, 5)).toEqual([])
})

const number = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e12, max: 1e12 })

test('ticks lie inside their range, ascend, and are 1, 2 or 5 times a power of ten apart', () => {
  fc.assert(
    fc.property(number, number, fc.integer({ min: 1, max: 12 }), (a, b, room) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)]
      fc.pre(high - low > 1e-6 * Math.max(1, Math.abs(low), Math.abs(high)))
      const values = linearTicks(low, high, room).map(({ value }) => value)
      for (const [i, value] of values.entries()) {
        expect(value).toBeGreaterThanOrEqual(low - (high - low) * 1e-9)
        expect(value).toBeLessThanOrEqual(high + (high - low) * 1e-9)
        if (i === 0) continue
        const step = value - (values[i - 1] ?? 0)
        const digit = step / 10 ** Math.floor(Math.log10(step) + 1e-6)
        expect([1, 2, 5].some((round) => Math.abs(digit / round - 1) < 1e-3)).toBe(true)
      }
      expect(values.length).toBeLessThanOrEqual(3 * room + 2)
    }),
  )
})

test('logarithmic ticks ascend inside their range with distinct labels', () => {
  const exponent = fc.double({ noNaN: true, min: -30, max: 30 })
  fc.assert(
    fc.property(exponent, exponent, fc.integer({ min: 2, max: 12 }), (a, b, room) => {
      fc.pre(Math.abs(a - b) > 1e-3)
      const [low, high] = [10 ** Math.min(a, b), 10 ** Math.max(a, b)]
      const ticks = logTicks(low, high, room)
      const values = ticks.map(({ value }) => value)
      expect(values).toEqual([...values].sort((x, y) => x - y))
      for (const value of values) expect(value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)).toBe(true)
      expect(new Set(labels(ticks)).size).toBe(labels(ticks).length)
      expect(labels(ticks).length).toBeGreaterThan(0)
    }),
  )
})
