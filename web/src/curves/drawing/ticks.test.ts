import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { exactXText, timeTicks, xTicks, yTicks } from './ticks.ts'

const values = (ticks: readonly { readonly value: number }[]) => ticks.map(({ value }) => value)
const labels = (ticks: readonly { readonly label: string }[]) => ticks.map(({ label }) => label)

describe('ticks', () => {
  it('of time are round', () => {
    expect(values(timeTicks(0, 7000, 4))).toEqual([0, 1800, 3600, 5400])
    expect(labels(timeTicks(0, 7000, 4))).toEqual(['0.0s', '30m 00s', '1h 00m', '1h 30m'])
    expect(values(timeTicks(0, 300_000, 3))).toEqual([0, 86_400, 172_800, 259_200])
  })

  it('of time lie in the range, ascend, and are few', () => {
    const time = fc.double({ min: 1e-9, max: 1e18, noNaN: true })
    fc.assert(
      fc.property(time, time, fc.integer({ min: 1, max: 12 }), (one, other, count) => {
        const [min, max] = [Math.min(one, other), Math.max(one, other)]
        const found = values(timeTicks(min, max, count))
        expect(found.length).toBeLessThanOrEqual(3 * count + 3)
        expect([...found].sort((left, right) => left - right)).toEqual(found)
        const slack = (max - min) * 1e-6 + max * 1e-9
        for (const tick of found) expect(tick >= min - slack && tick <= max + slack).toBe(true)
      }),
    )
  })

  it('of time are empty for an empty range', () => {
    // The ends differ by a thousand, but relatively by only about 1e-15.
    expect(timeTicks(1e18 - 1280, 1e18, 4)).toEqual([])
  })

  it('of steps are whole numbers, also of the first steps', () => {
    expect(labels(xTicks('step', 1, 3, 8))).toEqual(['1', '2', '3'])
    expect(labels(xTicks('step', 1, 40, 8))).toEqual(['5', '10', '15', '20', '25', '30', '35', '40'])
    const step = fc.integer({ min: 0, max: 1e9 })
    fc.assert(
      fc.property(step, fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 12 }), (min, more, count) => {
        const found = values(xTicks('step', min, min + more, count))
        expect(found.length).toBeGreaterThan(0)
        expect(found.every(Number.isInteger)).toBe(true)
      }),
    )
  })

  it('all have labels', () => {
    expect(labels(yTicks(true, 0.5, 2000, 5))).toEqual(['1', '10', '100', '1,000'])
    expect(labels(yTicks(false, 5.15, 6.3, 5))).toEqual(['5.2', '5.4', '5.6', '5.8', '6.0', '6.2'])
    expect(labels(xTicks('step', 0, 20_000, 4))).toEqual(['0', '5k', '10k', '15k', '20k'])
  })
})

it('a place in words has every digit of a step, and is short for FLOPs', () => {
  expect(exactXText('step', 2096)).toBe('2,096')
  expect(exactXText('tokens', 1_234_567)).toBe('1,234,567')
  expect(exactXText('time', 3600)).toBe('1h 00m')
  expect(exactXText('flops', 2.5e12)).toBe('2.50 T')
})
