import fc from 'fast-check'
import { expect, test } from 'vitest'
import { scaleOf } from './scale.ts'

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

test('equal values lie in the middle of an axis', () => {
  for (const value of [0, 3, -7e9, 1e-20]) {
    expect(scaleOf('linear', [value, value], [0, 100], 5).at(value)).toBeCloseTo(50)
  }
  expect(scaleOf('log', [42], [0, 100], 5).at(42)).toBeCloseTo(50)
})
