import fc from 'fast-check'
import { expect, test } from 'vitest'
import { brokenScale, scaleOf } from './scale.ts'

const number = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e12, max: 1e12 })

test('every value that a scale accepts lies inside its range', () => {
  const any = fc.oneof(fc.double(), number, fc.constantFrom(0, -0, 1e308, -1e308, 5e-324, Number.NaN))
  fc.assert(
    fc.property(fc.constantFrom('linear' as const, 'log' as const), fc.array(any), (kind, values) => {
      const scale = scaleOf(kind, values, [10, 110], 5)
      for (const value of values.filter((one) => scale.has(one))) {
        expect(scale.at(value)).toBeGreaterThanOrEqual(10 - 1e-6)
        expect(scale.at(value)).toBeLessThanOrEqual(110 + 1e-6)
      }
      for (const { value } of scale.ticks) expect(Number.isFinite(scale.at(value))).toBe(true)
    }),
  )
})

test('a broken axis keeps the order of all values, and gives most of its length to the inner ones', () => {
  const some = fc.array(number, { minLength: 1 })
  fc.assert(
    fc.property(some, some, (inner, outer) => {
      const all = [...inner, ...outer]
      const scale = brokenScale('linear', inner, all, [0, 100], 5)
      const spots = all.toSorted((a, b) => a - b).map((value) => scale.at(value))
      for (const [i, spot] of spots.entries()) {
        expect(spot).toBeGreaterThanOrEqual((spots[i - 1] ?? 0) - 1e-6)
        expect(spot).toBeLessThanOrEqual(100 + 1e-6)
      }
      const ticks = scale.ticks.map(({ value }) => value)
      expect(ticks).toEqual([...ticks].sort((a, b) => a - b))
    }),
  )
  // The inner values are −1 to 1 with a margin of 0.1 on 84 of 100 pixels; 10 ends in the margin of the whole axis.
  const scale = brokenScale('linear', [-1, 1], [-1, 1, 10], [0, 100], 5)
  expect(scale.breaks).toEqual([84])
  expect(scale.at(1) - scale.at(-1)).toBeCloseTo((84 * 2) / 2.2)
  expect(scale.at(10)).toBeCloseTo(84 + (16 * (10 - 1.1)) / (10.55 - 1.1))
})

test('equal values lie in the middle of an axis', () => {
  for (const value of [0, 3, -7e9, 1e-20]) {
    expect(scaleOf('linear', [value, value], [0, 100], 5).at(value)).toBeCloseTo(50)
  }
  expect(scaleOf('log', [42], [0, 100], 5).at(42)).toBeCloseTo(50)
})
