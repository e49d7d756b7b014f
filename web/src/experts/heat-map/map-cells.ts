/**
 * The cells of a heat map for a file of vectors (SVG): boxes in the colours of the page, with the marks and the numbers
 * that `draw.ts` paints on the screen. Cells narrower than a pixel share the box of their pixel, so that a map of
 * thousands of snapshots stays a small file.
 */
import { inkOn } from '../../../../src/core/charts/colour.ts'
import type { Surface } from '../../curves/drawing/surface.ts'
import { DEAD, OVERLOADED } from '../expert-load.ts'
import type { Frame } from './frame.ts'
import { hasNumbers, numberText } from './numbers.ts'
import type { Pixels } from './pixels.ts'
import { loadColor, shareOf } from './scale.ts'

/** Points of the polygon that is drawn for a ring. */
const RING = 24

/** @param left Left edge of the map on the surface; the surface has pixels of the page */
export function paintCells(surface: Surface, frame: Frame, pixels: Pixels, left: number, top: number): void {
  const { across, down, ratio, dark, end } = pixels
  const [width, height] = [across.size / ratio, down.size / ratio]
  const numbered = hasNumbers(pixels)
  const colorOf = (value: number) => loadColor(shareOf(value, end), dark)
  for (let row = 0; row < frame.rows; row++) {
    const y = top + down.startOf(row) / ratio
    for (let x = 0; x < across.pixels; ) {
      const [first, last] = [across.first[x] ?? -1, across.last[x] ?? -1]
      const from = x
      while (x < across.pixels && across.first[x] === first && across.last[x] === last) x++
      if (first < 0) continue
      let sum = 0
      for (let column = first; column <= last; column++) sum += frame.values[row * frame.columns + column] ?? 0
      const value = sum / (last - first + 1)
      if (!Number.isNaN(value))
        surface.box({ left: left + from / ratio, top: y, width: (x - from) / ratio, height }, colorOf(value))
    }
    for (let column = 0; column < frame.columns; column++) {
      const cell = row * frame.columns + column
      const [value, mark] = [frame.values[cell] ?? Number.NaN, frame.marks[cell]]
      if (Number.isNaN(value)) continue
      const [middleX, middleY] = [left + across.startOf(column) / ratio + width / 2, y + height / 2]
      const color = inkOn(colorOf(value))
      if (mark === DEAD) cross(surface, middleX, middleY, width, height, color)
      else if (numbered) {
        surface.text(numberText(value), middleX, middleY + 4, { color, size: 11, anchor: 'middle' })
        // The ring is around the number.
        if (mark === OVERLOADED) ring(surface, middleX, middleY, width * 0.46, height * 0.46, color)
      } else if (mark === OVERLOADED) ring(surface, middleX, middleY, width * 0.3, height * 0.3, color)
    }
  }
}

function cross(surface: Surface, x: number, y: number, width: number, height: number, color: string): void {
  const reach = 0.25 * Math.min(width, height)
  const stroke = { color, width: Math.min(1, reach) }
  surface.line([x - reach, y - reach, x + reach, y + reach], stroke)
  surface.line([x - reach, y + reach, x + reach, y - reach], stroke)
}

function ring(surface: Surface, x: number, y: number, across: number, down: number, color: string): void {
  const points = Array.from({ length: RING + 1 }, (_, i) => (2 * Math.PI * i) / RING)
  surface.line(
    points.flatMap((angle) => [x + across * Math.cos(angle), y + down * Math.sin(angle)]),
    { color, width: Math.min(1, across / 2) },
  )
}
