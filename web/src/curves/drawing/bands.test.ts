import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bandOver } from './bands.ts'

describe('a band over seeds', () => {
  it('has mean, minimum and maximum, interpolated between points', () => {
    const { x, y, band } = bandOver([
      { x: [0, 10], y: [0, 10] },
      { x: [0, 5, 10], y: [2, 9, 14] },
    ])
    expect(x).toEqual([0, 5, 10])
    expect(y).toEqual([1, 7, 12])
    expect(band).toEqual({ low: [0, 5, 10], high: [2, 9, 14], count: [2, 2, 2] })
  })

  it('continues with the runs that are long enough', () => {
    const { y, band } = bandOver([
      { x: [1, 2], y: [4, 4] },
      { x: [1, 2, 3], y: [6, 6, 6] },
    ])
    expect(y).toEqual([5, 5, 6])
    expect(band.count).toEqual([2, 2, 1])
  })

  it('does not interpolate across a missing value', () => {
    const { y } = bandOver([
      { x: [0, 2, 4], y: [1, null, 1] },
      { x: [1, 2, 3], y: [5, 5, null] },
    ])
    expect(y).toEqual([1, 5, 5, null, 1])
  })

  it('of no runs is empty', () => {
    expect(bandOver([]).x).toEqual([])
    expect(bandOver([{ x: [], y: [] }]).x).toEqual([])
  })

  it('contains its mean and every point of every run', () => {
    const run = fc
      .array(fc.tuple(fc.integer({ min: 0, max: 99 }), fc.double({ min: -9, max: 9, noNaN: true })), { minLength: 1 })
      .map((points) => {
        const unique = new Map(points)
        const x = [...unique.keys()].sort((one, other) => one - other)
        return { x, y: x.map((place) => unique.get(place) ?? 0) }
      })
    fc.assert(
      fc.property(fc.array(run, { minLength: 1, maxLength: 4 }), (runs) => {
        const { x, y, band } = bandOver(runs)
        x.forEach((place, i) => {
          const [low, mean, high] = [band.low[i] as number, y[i] as number, band.high[i] as number]
          expect(mean).toBeGreaterThanOrEqual(low - 1e-9)
          expect(mean).toBeLessThanOrEqual(high + 1e-9)
          for (const each of runs) {
            const at = each.x.indexOf(place)
            if (at < 0) continue
            expect(each.y[at]).toBeGreaterThanOrEqual(low)
            expect(each.y[at]).toBeLessThanOrEqual(high)
          }
        })
      }),
    )
  })

  it('has a limited number of points', () => {
    const x = Array.from({ length: 10_000 }, (_, index) => index)
    const band = bandOver([{ x, y: x }])
    expect(band.x.length).toBeLessThanOrEqual(3001)
    expect(band.x.at(-1)).toBe(9999)
  })
})
