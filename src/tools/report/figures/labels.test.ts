import fc from 'fast-check'
import { expect, test } from 'vitest'
import { placeLabels, type Rectangle, spreadOut } from './labels.ts'

test('labels with room keep their position, and crowded labels move apart around their middle', () => {
  expect(spreadOut([10, 50, 90], 16, 0, 100)).toEqual([10, 50, 90])
  expect(spreadOut([50, 50], 16, 0, 100)).toEqual([42, 58])
  expect(spreadOut([99, 99], 16, 0, 100)).toEqual([84, 100])
})

test('labels that are spread out keep order, distance and bounds', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ noNaN: true, min: 0, max: 400 }), { maxLength: 20 }), (wanted) => {
      const ordered = wanted.sort((a, b) => a - b)
      const found = spreadOut(ordered, 16, 0, 400)
      expect(found).toHaveLength(ordered.length)
      for (const [i, value] of found.entries()) {
        expect(value >= -1e-9 && value <= 400 + 1e-9).toBe(true)
        if (i > 0) expect(value - (found[i - 1] ?? 0)).toBeGreaterThanOrEqual(16 - 1e-6)
      }
    }),
  )
})

test('placed labels overlap neither each other nor a point, and stay inside', () => {
  const bounds = { x: 0, y: 0, width: 300, height: 200 }
  const spot = fc.record({ x: fc.integer({ min: 0, max: 300 }), y: fc.integer({ min: 0, max: 200 }) })
  const apart = (a: Rectangle, b: Rectangle) =>
    a.x >= b.x + b.width || b.x >= a.x + a.width || a.y >= b.y + b.height || b.y >= a.y + a.height
  fc.assert(
    fc.property(fc.array(spot, { maxLength: 30 }), (spots) => {
      const points = spots.map(({ x, y }) => ({ x: x - 5, y: y - 5, width: 10, height: 10 }))
      const places = placeLabels(
        spots.map((one) => ({ ...one, width: 60, height: 14 })),
        points,
        bounds,
      ).filter((place) => place !== undefined)
      for (const [i, place] of places.entries()) {
        expect(place.x >= 0 && place.y >= 0 && place.x + 60 <= 300 && place.y + 14 <= 200).toBe(true)
        for (const other of [...points, ...places.slice(i + 1)]) expect(apart(place, other)).toBe(true)
      }
    }),
  )
})

test('a lone label is right of its point', () => {
  const [place] = placeLabels([{ x: 50, y: 50, width: 40, height: 14 }], [], { x: 0, y: 0, width: 200, height: 100 })
  expect(place).toMatchObject({ x: 58, y: 43, anchor: 'start', far: false })
})
