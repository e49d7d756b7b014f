import { describe, expect, it } from 'vitest'
import { channels } from '../../../src/core/charts/colour.ts'
import { fittingEnd, loadColor, shareOf } from './scale.ts'

describe('the end of the scale', () => {
  it.each([
    ['even loads', [1, 1, 1, 1], 2],
    ['a balanced router', [0.9, 1.1, 1.2, 0.85, 1, 1], 2],
    ['loads up to twice and half the mean', [0.5, 2, 1, 1.3], 2],
    ['a collapsed router', [0.1, 0.1, 0.1, 7.7], 8],
    ['loads beyond the scale', [100, 0.01], 8],
    ['nothing', [], 2],
  ])('fits %s', (_, loads, end) => expect(fittingEnd(Float32Array.from(loads))).toBe(end))

  it('does not follow dead experts, gaps, or a tenth of the cells', () => {
    const even = Array.from({ length: 18 }, () => 1)
    expect(fittingEnd(Float32Array.from([...even, 0, 0, 0, 0, Number.NaN]))).toBe(2)
    expect(fittingEnd(Float32Array.from([...even, 8]))).toBe(2)
  })

  it('gives a slightly high load another colour than an overloaded expert of a router that is balanced otherwise', () => {
    const loads = Float32Array.from([...Array.from({ length: 18 }, () => 0.9), 1.2, 4.69])
    const end = fittingEnd(loads)
    for (const dark of [false, true]) {
      const [high, overloaded] = [1.2, 4.69].map((load) => channels(loadColor(shareOf(load, end), dark)))
      expect(Math.hypot(...(high ?? []).map((value, i) => value - (overloaded?.[i] ?? 0)))).toBeGreaterThan(60)
    }
  })
})

it('loads have a place between the ends, in octaves', () => {
  expect([0, 0.25, 0.5, 1, 2, 4, 16].map((load) => shareOf(load, 4))).toEqual([-1, -1, -0.5, 0, 0.5, 1, 1])
})

it('colours diverge on both sides of the mean', () => {
  for (const dark of [false, true]) {
    const distance = (a: number, b: number) => {
      const [one, other] = [channels(loadColor(a, dark)), channels(loadColor(b, dark))]
      return Math.hypot(...one.map((value, i) => value - (other[i] ?? 0)))
    }
    expect(distance(1 / 3, 0)).toBeGreaterThan(20)
    expect(distance(2 / 3, 0)).toBeGreaterThan(distance(1 / 3, 0))
    expect(distance(-2 / 3, 0)).toBeGreaterThan(distance(-1 / 3, 0))
    expect(distance(1, -1)).toBeGreaterThan(100)
  }
})
