import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bytes, bytesPerSecond, flopsPerSecond, seconds } from './quantities.ts'

describe('a quantity with a unit is parsed into base units', () => {
  test.each([
    ['0.5 B', 0.5],
    ['3 kB', 3e3],
    ['3 MB', 3e6],
    ['3 GB', 3e9],
    ['3 TB', 3e12],
    ['3 PB', 3e15],
    ['3 KiB', 3 * 1024],
    ['3 MiB', 3 * 1024 ** 2],
    ['32 GiB', 34_359_738_368],
    ['3 TiB', 3 * 1024 ** 4],
    ['32GiB', 34_359_738_368],
    ['  1.5e1 GB ', 15e9],
  ])('%j of memory is %d bytes', (text, value) => {
    expect(bytes.parse(text)).toBeCloseTo(value, 6)
  })

  test.each([
    ['8 B/s', 8],
    ['900 GB/s', 9e11],
    ['2 TiB/s', 2 * 1024 ** 4],
    ['100 Gb/s', 12.5e9],
    ['100 Gbit/s', 12.5e9],
    ['8 b/s', 1],
    ['8 kbit/s', 1000],
  ])('%j of a link is %d bytes a second', (text, value) => {
    expect(bytesPerSecond.parse(text)).toBeCloseTo(value, 3)
  })

  test.each([
    ['125 TFLOP/s', 1.25e14],
    ['15.7 TFLOPS', 1.57e13],
    ['1 PFLOP/s', 1e15],
    ['5 FLOP/s', 5],
  ])('%j of a device is %d operations a second', (text, value) => {
    expect(flopsPerSecond.parse(text) / value).toBeCloseTo(1, 12)
  })

  test.each([
    ['2 s', 2],
    ['3 ms', 3e-3],
    ['5 us', 5e-6],
    ['5 µs', 5e-6],
    ['7 ns', 7e-9],
    ['0 s', 0],
  ])('%j is %d seconds', (text, value) => {
    expect(seconds.parse(text)).toBeCloseTo(value, 15)
  })

  test('any positive number is parsed exactly', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-3, max: 1e6, noNaN: true }), (value) => {
        expect(bytes.parse(`${value} GB`) / (value * 1e9)).toBeCloseTo(1, 12)
      }),
    )
  })
})

describe('an invalid quantity is refused with a valid example', () => {
  test.each([
    [bytes, '32 GiX', '32 GiB'],
    [bytes, '32 Gb', '32 GiB'],
    [bytes, '32 gib', '32 GiB'],
    [bytes, '32', '32 GiB'],
    [bytes, 'GiB', '32 GiB'],
    [bytes, '', '32 GiB'],
    [bytes, '0 GB', '32 GiB'],
    [bytes, 0, '32 GiB'],
    [bytes, 1e9, '32 GiB'],
    [bytes, '-1 GB', '32 GiB'],
    [bytes, -1, '32 GiB'],
    [bytes, 'NaN GB', '32 GiB'],
    [bytes, 'Infinity GB', '32 GiB'],
    [bytes, '1e400 GB', '32 GiB'],
    [bytes, '1.2.3 GB', '32 GiB'],
    [bytes, '1-2 GB', '32 GiB'],
    [bytes, '3 GB/s', '32 GiB'],
    [bytesPerSecond, '3 GB', '900 GB/s'],
    [bytesPerSecond, '0 GB/s', '900 GB/s'],
    [bytesPerSecond, 9e11, '900 GB/s'],
    [bytesPerSecond, '9e11', '900 GB/s'],
    [flopsPerSecond, '3 TB/s', '125 TFLOP/s'],
    [flopsPerSecond, '0 TFLOP/s', '125 TFLOP/s'],
    [flopsPerSecond, 1.25e14, '125 TFLOP/s'],
    [seconds, '5 m', '5 us'],
    [seconds, '-5 us', '5 us'],
    [seconds, 5e-6, '5 us'],
    [seconds, 0, '5 us'],
  ])('case %#: %j', (schema, given, example) => {
    const { error } = (schema as typeof bytes).safeParse(given)
    expect(error?.issues.map(({ message }) => message).join()).toContain(`such as "${example}"`)
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, null, true, {}, []])('if it is the value %j', (given) => {
    expect(bytes.safeParse(given).success).toBe(false)
  })
})
