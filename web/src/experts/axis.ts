/**
 * Cells along one side of a heat map, in pixels of the screen. If cells are narrower than a pixel, a pixel shows
 * several cells.
 */
import { bisectRight } from 'd3-array'
import { linearTicks } from '../../../src/core/charts/ticks.ts'

export interface Axis {
  readonly cells: number
  readonly pixels: number
  /** First and last cell on each pixel; -1 in a gap. */
  readonly first: Int32Array
  readonly last: Int32Array
  /** Start and size of a cell. */
  readonly startOf: (cell: number) => number
  readonly size: number
  /** The cell at a pixel: in a gap the cell before it, outside the axis the nearest cell. */
  readonly cellAt: (pixel: number) => number
}

/** @param gaps Cells before which `gap` pixels are left free, ascending */
export function axisOf(cells: number, pixels: number, gaps: readonly number[], gap: number): Axis {
  const size = Math.max(0, pixels - gaps.length * gap) / Math.max(1, cells)
  const starts = new Float64Array(cells + 1)
  let before = 0
  for (let cell = 0; cell <= cells; cell++) {
    while (before < gaps.length && (gaps[before] as number) <= cell) before++
    starts[cell] = cell * size + before * gap
  }
  const startOf = (cell: number) => starts[cell] ?? pixels
  const first = new Int32Array(pixels).fill(-1)
  const last = new Int32Array(pixels).fill(-1)
  for (let cell = 0; cell < cells; cell++) {
    // Without the limit, rounding could push a narrow last cell over the edge.
    const from = Math.min(pixels - 1, Math.round(startOf(cell)))
    const to = Math.max(from + 1, Math.round(startOf(cell) + size))
    for (let pixel = from; pixel < to && pixel < pixels; pixel++) {
      if (first[pixel] === -1) first[pixel] = cell
      last[pixel] = cell
    }
  }
  const cellAt = (pixel: number) => Math.max(0, bisectRight(starts, pixel, 0, cells) - 1)
  return { cells, pixels, first, last, startOf, size, cellAt }
}

/** Snapshots at round steps, such as 100, 200, 300, and where there are fewer than two, the first and the last. */
export function roundSnapshots(steps: readonly number[]): readonly number[] {
  const last = steps.length - 1
  const round = linearTicks(steps[0] ?? 0, steps[last] ?? 0, 5)
    .map(({ value }) => steps.indexOf(value))
    .filter((column) => column >= 0)
  return round.length > 1 ? round : [...new Set([0, Math.max(0, last)])]
}
