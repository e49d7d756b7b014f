/**
 * Legends have the name of each series with a sample of its line, dash and mark, so that they are readable without
 * colours.
 */
import { symbol } from 'd3-shape'
import { type Child, element, type Markup } from '../markup.ts'
import { letters } from './axes.ts'
import { markOf } from './marks.ts'
import { textWidth, titleIfCut, truncate } from './text.ts'

export interface Entry {
  readonly name: string
  /** Number of the mark, which determines colour, shape and dash. */
  readonly index: number
  readonly line: boolean
}

/** Width of a sample, including the space after it. */
export const sampleWidth = (line: boolean): number => (line ? 32 : 16)

export function sample({ index, line }: Entry, x: number, y: number): Child {
  const { colour, dash } = markOf(index)
  return line
    ? [
        element('path', { class: `line s${colour}`, 'stroke-dasharray': dash, d: `M${round(x)} ${round(y)}h26` }),
        mark(index, x + 13, y),
      ]
    : mark(index, x + 6, y)
}

/** The mark of a series at a point. @param size area in square pixels */
export function mark(index: number, x: number, y: number, size = 58): Markup {
  const { colour, shape } = markOf(index)
  const d = symbol(shape, size).digits(2)() ?? ''
  return element('path', { class: `mark f${colour}`, transform: `translate(${round(x)} ${round(y)})`, d })
}

const round = (value: number): number => Math.round(10 * value) / 10

/** A legend with entries in rows from left to right. @param draw draws a sample, centred vertically at y */
export function legend(
  entries: readonly Entry[],
  width: number,
  y: number,
  draw: typeof sample = sample,
): { markup: Child; end: number } {
  let [x, row] = [2, y + 8]
  const markup = entries.map((entry) => {
    const indent = sampleWidth(entry.line)
    const name = truncate(entry.name, letters.text, width - indent - 6)
    const entryWidth = indent + textWidth(name, letters.text)
    if (x > 2 && x + entryWidth > width - 2) [x, row] = [2, row + 19]
    const drawn = [
      draw(entry, x, row),
      element('text', { x: x + indent, y: row + 4 }, name, titleIfCut(name, entry.name)),
    ]
    x += entryWidth + 20
    return drawn
  })
  return { markup, end: entries.length === 0 ? y : row + 16 }
}
