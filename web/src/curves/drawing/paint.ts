/**
 * Draws lines into the box of a plot, the same way on the page and in downloads: bands first, then faint raw values,
 * and the smoothed lines on top.
 */
import { isCrowd, type Line, type Range } from './lines.ts'
import type { Box, Stroke, Surface } from './surface.ts'

/** Maps values to positions in a box. */
export interface Frame {
  readonly box: Box
  readonly x: Range
  readonly y: Range
  readonly log: boolean
}

type Values = readonly (number | null)[]

/** Vertical position of a value; NaN if the scale cannot represent it. */
export function toY({ box, y, log }: Frame, value: number | null | undefined): number {
  if (value === null || value === undefined || (log && value <= 0)) return Number.NaN
  const share = log ? Math.log(value / y.min) / Math.log(y.max / y.min) : (value - y.min) / (y.max - y.min)
  return box.top + box.height * (1 - share)
}

export const toX = ({ box, x }: Frame, value: number): number =>
  box.left + (box.width * (value - x.min)) / (x.max - x.min)

/** Draws all lines. @param unit Pixels of the surface per pixel of the page. */
export function paint(surface: Surface, lines: readonly Line[], frame: Frame, unit: number): void {
  surface.clipTo(frame.box, () => {
    for (const { x, band, style } of lines) {
      if (band) for (const points of bandPieces(frame, x, band.low, band.high)) surface.area(points, style.color, 0.18)
    }
    const isCrowded = isCrowd(lines)
    // Many raw lines would hide the smoothed lines.
    const opacity = Math.min(0.25, 2.5 / lines.length)
    for (const { x, raw, style } of lines) {
      if (!raw || isCrowded) continue
      const stroke = { color: style.color, width: unit, opacity }
      for (const points of pieces(frame, x, raw)) surface.line(points, stroke)
    }
    // Many lines are drawn thinner, so that there is space between them.
    const width = unit * (isCrowded ? 1 : 1.6)
    for (const line of lines) {
      const stroke = strokeOf(line, width, unit)
      for (const points of pieces(frame, line.x, line.y)) surface.line(points, stroke)
    }
  })
}

/** Draws one line above the other lines, with an edge in the colour of the background. */
export function paintAbove(surface: Surface, line: Line, frame: Frame, unit: number, back: string): void {
  surface.clipTo(frame.box, () => {
    const found = pieces(frame, line.x, line.y)
    for (const points of found) surface.line(points, { color: back, width: 5 * unit, opacity: 0.8 })
    for (const points of found) surface.line(points, strokeOf(line, 2.2 * unit, unit))
  })
}

const strokeOf = ({ style: { color, dash } }: Line, width: number, unit: number): Stroke => ({
  color,
  width,
  dash: dash.map((length) => length * unit),
})

/** Uninterrupted pieces of a line as x, y, x, y… They have the visible points, and one more on either side. */
export function pieces(frame: Frame, x: readonly number[], y: Values): readonly (readonly number[])[] {
  const found: number[][] = []
  let piece: number[] = []
  const [first, last] = visibleIndices(frame, x)
  for (let i = first; i <= last; i++) {
    const at = toY(frame, y[i])
    if (Number.isFinite(at)) piece.push(toX(frame, x[i] as number), at)
    else if (piece.length > 0) {
      found.push(piece)
      piece = []
    }
  }
  if (piece.length > 0) found.push(piece)
  return found
}

/** Outlines of a band: forwards along its upper edge, back along its lower edge. */
function bandPieces(frame: Frame, x: readonly number[], low: Values, high: Values): readonly (readonly number[])[] {
  const floor = frame.box.top + frame.box.height
  const found: number[][] = []
  let upper: number[] = []
  let lower: number[] = []
  const close = () => {
    if (upper.length > 2) {
      for (let i = lower.length - 2; i >= 0; i -= 2) upper.push(lower[i] as number, lower[i + 1] as number)
      found.push(upper)
    }
    upper = []
    lower = []
  }
  const [first, last] = visibleIndices(frame, x)
  for (let i = first; i <= last; i++) {
    const top = toY(frame, high[i])
    if (!Number.isFinite(top)) {
      close()
      continue
    }
    const bottom = toY(frame, low[i])
    const at = toX(frame, x[i] as number)
    upper.push(at, top)
    lower.push(at, Number.isFinite(bottom) ? bottom : floor)
  }
  close()
  return found
}

function visibleIndices({ x: { min, max } }: Frame, x: readonly number[]): readonly [number, number] {
  let first = x.findIndex((value) => value >= min)
  if (first < 0) first = x.length
  const last = x.findLastIndex((value) => value <= max)
  return [Math.max(0, first - 1), Math.min(x.length - 1, last + 1)]
}
