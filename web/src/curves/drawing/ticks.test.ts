import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { exactXText, linearTicks, logTicks, timeTicks, xText } from './ticks.ts'

describe('ticks', () => {
  it('are round', () => {
    expect(linearTicks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1])
    expect(linearTicks(3.02, 3.31, 3)).toEqual([3.1, 3.2, 3.3])
    expect(logTicks(0.5, 2000, 5)).toEqual([1, 10, 100, 1000])
    expect(logTicks(1, 30, 6)).toEqual([1, 2, 5, 10, 20])
    expect(logTicks(3, 3.4, 4)).toEqual([3, 3.1, 3.2, 3.3, 3.4])
    expect(timeTicks(0, 7000, 4)).toEqual([0, 1800, 3600, 5400])
    expect(timeTicks(0, 300_000, 3)).toEqual([0, 86_400, 172_800, 259_200])
  })

  it('lie in the range, ascend, and are few', () => {
    const values = fc.double({ min: 1e-9, max: 1e18, noNaN: true })
    fc.assert(
      fc.property(values, values, fc.integer({ min: 1, max: 12 }), (one, other, count) => {
        const [min, max] = [Math.min(one, other), Math.max(one, other)]
        for (const ticks of [linearTicks, logTicks, timeTicks]) {
          const found = ticks(min, max, count)
          expect(found.length).toBeLessThanOrEqual(3 * count + 3)
          expect([...found].sort((left, right) => left - right)).toEqual(found)
          const slack = (max - min) * 1e-6 + max * 1e-9
          for (const tick of found) expect(tick >= min - slack && tick <= max + slack).toBe(true)
        }
      }),
    )
  })

  it('are empty for an empty range', () => {
    expect(linearTicks(1, 1, 5)).toEqual([])
    expect(logTicks(0, 10, 5)).toEqual([])
    expect(logTicks(-1, 10, 5)).toEqual([])
    // The ends differ by a thousand, but relatively by only about 1e-15.
    expect(timeTicks(1e18 - 1280, 1e18, 4)).toEqual([])
    // With its margin, a range up to 1e308 ends at infinity.
    expect(logTicks(1e-300, Number.POSITIVE_INFINITY, 5)).toEqual([])
  })
})

it('a place in words has every digit of a step, and is short for FLOPs', () => {
  expect(exactXText('step', 2096)).toBe('2,096')
  expect(exactXText('tokens', 1_234_567)).toBe('1,234,567')
  expect(exactXText('time', 3600)).toBe(xText('time', 3600))
  expect(exactXText('flops', 2.5e15)).toBe(xText('flops', 2.5e15))
})
