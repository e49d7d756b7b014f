import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sameDecimals, tickLabel, valueLabel } from './number-labels.ts'

test('large and small ticks have short labels, and thousands have separators', () => {
  const ticks = [2e3, 1e6, 2e4, 3e9, 5e12, 1e15, 2e-6, 1e-4]
  expect(ticks.map((value) => tickLabel(value, value))).toEqual([
    '2,000',
    '1 M',
    '20k',
    '3 B',
    '5 T',
    '10¹⁵',
    '2×10⁻⁶',
    '10⁻⁴',
  ])
})

test('the ticks of an axis share unit and decimals, and have a true minus sign', () => {
  expect([0, 0.5e6, 1e6].map((value) => tickLabel(value, 0.5e6, 1e6))).toEqual(['0', '0.5 M', '1.0 M'])
  expect([-0.02, 1e-20, 0.02].map((value) => tickLabel(value, 0.02, 0.02))).toEqual(['−0.02', '0', '0.02'])
})

test('values have three significant digits, a unit or a power of ten', () => {
  const values = [0.0312, -4.3, 1234.4, 4_123_000, Number.NaN, null, 0, 12_345, 123_456, 0.0045, 5e-324, 1e-299, 1.5e-6]
  expect(values.map((value) => valueLabel(value))).toEqual([
    '0.0312',
    '−4.30',
    '1,234',
    '4.12 M',
    '–',
    '–',
    '0',
    '12,345',
    '123k',
    '0.0045',
    '0',
    '10⁻²⁹⁹',
    '1.5×10⁻⁶',
  ])
})

test('a label has the value to its number of digits', () => {
  const exponents: Record<string, number> = { k: 3, M: 6, B: 9, T: 12 }
  const read = (label: string): number => {
    const [, mantissa = '', unit = ''] = /^([−\d.,]*?)(?:\s?([kMBT]))?(?:×?10[⁻⁰-⁹¹²³]+)?$/u.exec(label) ?? []
    const power = /10([⁻⁰-⁹¹²³]+)$/u.exec(label)?.[1] ?? ''
    const digits = [...power]
      .map((digit) => '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'.indexOf(digit))
      .map((at) => (at === 0 ? '-' : String(at - 1)))
    const number = mantissa === '' ? '1' : mantissa.replace('−', '-').replaceAll(',', '')
    return Number(`${number}e${power === '' ? (exponents[unit] ?? 0) : Number(digits.join(''))}`)
  }
  const value = fc.tuple(fc.double({ min: 1, max: 10, noNaN: true }), fc.integer({ min: -20, max: 20 }), fc.boolean())
  fc.assert(
    fc.property(value, fc.integer({ min: 2, max: 6 }), ([mantissa, exponent, negative], digits) => {
      const given = (negative ? -1 : 1) * mantissa * 10 ** exponent
      const shown = read(valueLabel(given, digits))
      expect(Math.abs(shown / given - 1)).toBeLessThan(0.5001 * 10 ** (1 - digits))
    }),
  )
})

test('a group of values has the same decimals, and no minus before zero', () => {
  expect([0.021, -0.0149, -0.0001, Number.NaN].map(sameDecimals(0.007))).toEqual(['0.021', '−0.015', '0.000', '–'])
})
