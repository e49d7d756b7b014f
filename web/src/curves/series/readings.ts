/** Values at the pointer of the lines nearest to it, from the upper to the lower. */
import { type Line, nearest, type Range } from '../drawing/lines.ts'

export interface HoverPoint {
  readonly x: number
  readonly y: number
  readonly left: number
  readonly top: number
}

export interface Reading {
  readonly line: Line
  readonly index: number
  /** Where on the x axis the line has this value. Lines have values at other steps than the pointer, and than each other. */
  readonly x: number
  readonly value: number
  /** Whether this line is the closest to the pointer. */
  readonly closest: boolean
}

const MAX_LINES = 12

/** The readings at the pointer. A line has a reading until slightly beyond its ends. */
export function readings(lines: readonly Line[], place: HoverPoint, range: Range, log: boolean): readonly Reading[] {
  const { x } = place
  const slack = 0.02 * (range.max - range.min)
  const found: Omit<Reading, 'closest'>[] = []
  for (const line of lines) {
    const index = nearest(line.x, x)
    const value = line.y[index]
    const [start = Number.POSITIVE_INFINITY, end = Number.NEGATIVE_INFINITY] = [line.x[0], line.x.at(-1)]
    if (value === null || value === undefined || x < start - slack || x > end + slack) continue
    if (log && value <= 0) continue
    found.push({ line, index, x: line.x[index] ?? x, value })
  }
  const near = found.sort((one, other) => distance(one, place, log) - distance(other, place, log)).slice(0, MAX_LINES)
  const [closest] = near
  return near
    .map((reading) => ({ ...reading, closest: reading === closest }))
    .sort((one, other) => other.value - one.value)
}

/** Distance from the pointer along y, as drawn. */
const distance = ({ value }: Pick<Reading, 'value'>, { y }: HoverPoint, log: boolean): number =>
  Math.abs(log ? Math.log(value / y) : value - y)
