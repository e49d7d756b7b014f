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
    for (const line of lines) {
      for (const points of bandPieces(frame, line, unit)) surface.area(points, line.style.color, 0.18)
    }
    const isCrowded = isCrowd(lines)
    // Many raw lines would hide the smoothed lines.
    const opacity = Math.min(0.25, 2.5 / lines.length)
    for (const line of lines) {
      if (!line.raw || isCrowded) continue
      const stroke = { color: line.style.color, width: unit, opacity }
      for (const points of pieces(frame, line.x, line.raw)) surface.line(points, stroke)
    }
    // Many lines are drawn thinner, so that there is space between them.
    const width = unit * (isCrowded ? 1 : 1.6)
    for (const line of lines) {
      const stroke = strokeOf(line, width, unit)
      for (const points of pieces(frame, line.x, line.y)) surface.line(points, stroke)
    }
    if (!isCrowded) for (const line of lines) markExits(surface, line, frame, unit)
  })
}

/** Half the width of a mark in pixels of the page, and the smallest distance between two marks of a line. */
const MARK = 5
const MARKS_APART = 24

/** Draws triangles where a line leaves the frame or comes into it, at the edge, in the colour of the line. */
function markExits(surface: Surface, line: Line, frame: Frame, unit: number): void {
  const half = MARK * unit
  for (const { at, isAbove } of exits(frame, line.x, line.y, MARKS_APART * unit)) {
    const [edge, inwards] = isAbove ? [frame.box.top, half] : [frame.box.top + frame.box.height, -half]
    const [tip, base] = [edge + inwards / 2, edge + inwards * 2]
    surface.area([at, tip, at + half, base, at - half, base], line.style.color, 1)
  }
}

export interface Exit {
  /** Horizontal position. */
  readonly at: number
  readonly isAbove: boolean
}

/** Where a line crosses the upper or lower edge of the frame, at least `apart` from the crossing before. */
export function exits(frame: Frame, x: readonly number[], y: Values, apart: number): readonly Exit[] {
  const { left, top, width, height } = frame.box
  const bottom = top + height
  const found: Exit[] = []
  const add = (at: number, isAbove: boolean) => {
    const last = found.findLast((exit) => exit.isAbove === isAbove)
    if (at >= left && at <= left + width && (last === undefined || at - last.at >= apart)) found.push({ at, isAbove })
  }
  for (const points of pieces(frame, x, y))
    for (let i = 2; i < points.length; i += 2) {
      const [x0 = 0, y0 = 0, x1 = 0, y1 = 0] = points.slice(i - 2, i + 2)
      for (const [edge, isAbove] of [
        [top, true],
        [bottom, false],
      ] as const) {
        const isBeyond = (at: number) => (isAbove ? at < edge : at > edge)
        if (isBeyond(y0) !== isBeyond(y1)) add(x0 + ((x1 - x0) * (edge - y0)) / (y1 - y0), isAbove)
      }
    }
  return found
}

/** Draws one line above the other lines, with an edge in the colour of the background. */
export function paintAbove(surface: Surface, line: Line, frame: Frame, unit: number, back: string): void {
  surface.clipTo(frame.box, () => {
    const found = pieces(frame, line.x, line.y)
    for (const points of found) surface.line(points, { color: back, width: 5 * unit, opacity: 0.8 })
    for (const points of found) surface.line(points, strokeOf(line, 2.2 * unit, unit))
  })
}

/** Draws a vertical line at one x, such as the current step of a replay, which lines are drawn over. */
export function paintMark(surface: Surface, frame: Frame, mark: number, unit: number, color: string): void {
  const { box } = frame
  const x = toX(frame, mark)
  surface.clipTo(box, () => surface.line([x, box.top, x, box.top + box.height], { color, width: unit }))
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
  const close = () => {
    if (piece.length > 0) found.push(piece)
    piece = []
  }
  const [first, last] = visibleIndices(frame, x)
  for (let i = first; i <= last; i++) {
    const at = toY(frame, y[i])
    if (Number.isFinite(at)) piece.push(toX(frame, x[i] as number), at)
    else close()
  }
  close()
  return found
}

/** Half the width in pixels of the page of a band that has a single point. */
const SINGLE = 3

/** Outlines of a band: forwards along its upper edge, back along its lower edge. */
function bandPieces(frame: Frame, line: Line, unit: number): readonly (readonly number[])[] {
  const { x, band } = line
  if (!band) return []
  const floor = frame.box.top + frame.box.height
  const found: number[][] = []
  let upper: number[] = []
  let lower: number[] = []
  const close = () => {
    const [at = 0, top = 0, bottom = 0] = [...upper.slice(0, 2), ...lower.slice(1, 2)]
    if (upper.length === 2) {
      const [left, right] = [at - SINGLE * unit, at + SINGLE * unit]
      found.push([left, top, right, top, right, bottom, left, bottom])
    } else if (upper.length > 2) {
      for (let i = lower.length - 2; i >= 0; i -= 2) upper.push(lower[i] as number, lower[i + 1] as number)
      found.push(upper)
    }
    upper = []
    lower = []
  }
  const [first, last] = visibleIndices(frame, x)
  for (let i = first; i <= last; i++) {
    const top = toY(frame, band.high[i])
    if (!Number.isFinite(top)) {
      close()
      continue
    }
    const bottom = toY(frame, band.low[i])
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
