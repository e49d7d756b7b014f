import fc from 'fast-check'
import { expect, test } from 'vitest'
import { axisOf, roundSnapshots } from './axis.ts'

const anyAxis = fc.record({
  cells: fc.integer({ min: 1, max: 300 }),
  pixels: fc.integer({ min: 50, max: 1200 }),
  gaps: fc.uniqueArray(fc.integer({ min: 1, max: 299 }), { maxLength: 4 }),
})
const build = ({ cells, pixels, gaps }: { cells: number; pixels: number; gaps: number[] }) =>
  axisOf(
    cells,
    pixels,
    gaps.filter((gap) => gap < cells).sort((a, b) => a - b),
    8,
  )

test('every cell is on a pixel, and cells are in order', () => {
  fc.assert(
    fc.property(anyAxis, (options) => {
      const axis = build(options)
      const seen = new Set<number>()
      let before = -1
      for (let pixel = 0; pixel < axis.pixels; pixel++) {
        const [first, last] = [axis.first[pixel] as number, axis.last[pixel] as number]
        if (first === -1) continue
        expect(first).toBeGreaterThanOrEqual(before)
        before = last
        for (let cell = first; cell <= last; cell++) seen.add(cell)
      }
      expect(seen.size).toBe(options.cells)
    }),
  )
})

test('if cells are larger than pixels, the cell at a pixel is the cell drawn there', () => {
  fc.assert(
    fc.property(anyAxis, (options) => {
      const axis = build(options)
      fc.pre(axis.size >= 2)
      for (let cell = 0; cell < options.cells; cell++) {
        const middle = Math.floor(axis.startOf(cell) + axis.size / 2)
        expect(axis.cellAt(middle)).toBe(cell)
        expect(axis.first[middle]).toBe(cell)
      }
    }),
  )
})

test('a gap has no cells, and the cell at a pixel in it is the cell before', () => {
  const axis = axisOf(4, 48, [2], 8)
  expect(axis.size).toBe(10)
  expect([...axis.first.slice(20, 28)]).toEqual(Array(8).fill(-1))
  expect([axis.cellAt(24), axis.cellAt(28), axis.cellAt(-5), axis.cellAt(99)]).toEqual([1, 2, 0, 3])
})

test('the snapshots that are named are at round steps, of those that are recorded', () => {
  const stepsNamed = (steps: number[]) => roundSnapshots(steps).map((column) => steps[column])
  const every = (distance: number, count: number) => Array.from({ length: count }, (_, i) => distance * (i + 1))
  expect(stepsNamed(every(4, 100))).toEqual([100, 200, 300, 400])
  expect(stepsNamed(every(5, 12))).toEqual([10, 20, 30, 40, 50, 60])
  // No two snapshots are at a round step: the first and the last are named.
  expect(stepsNamed([3, 17, 23])).toEqual([3, 23])
  expect(stepsNamed([7])).toEqual([7])
})
