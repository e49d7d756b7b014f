/**
 * Names of series beside a sample of how each is drawn: line, dash and mark together, as in the plot, so
 * that a legend can be read without its colours.
 */
import { symbol } from 'd3-shape'
import { type Child, element, type Markup } from '../markup.ts'
import { letters } from './axes.ts'
import { markOf } from './palette.ts'
import { fitted, textWidth, whole } from './text.ts'

export interface Entry {
  readonly name: string
  /** Place among the series, which decides colour, shape and dash. */
  readonly index: number
  readonly line: boolean
}

/** Width of the sample with the space after it. */
export const sampleWidth = (line: boolean): number => (line ? 32 : 16)

export function sample({ index, line }: Entry, x: number, y: number): Child {
  const { colour, dash } = markOf(index)
  return line
    ? [
        element('path', { class: `line s${colour}`, 'stroke-dasharray': dash, d: `M${at(x)} ${at(y)}h26` }),
        mark(index, x + 13, y),
      ]
    : mark(index, x + 6, y)
}

/** The mark of a series around a point. @param size area in square pixels */
export function mark(index: number, x: number, y: number, size = 58): Markup {
  const { colour, shape } = markOf(index)
  const d = symbol(shape, size).digits(2)() ?? ''
  return element('path', { class: `mark f${colour}`, transform: `translate(${at(x)} ${at(y)})`, d })
}

const at = (value: number): number => Math.round(10 * value) / 10

/** Entries in rows from left to right, as many as fit. @param draw their samples, around a height */
export function legend(
  entries: readonly Entry[],
  width: number,
  y: number,
  draw: typeof sample = sample,
): { markup: Child; end: number } {
  let [x, row] = [2, y + 8]
  const markup = entries.map((entry) => {
    const lead = sampleWidth(entry.line)
    const name = fitted(entry.name, letters.text, width - lead - 6)
    const wide = lead + textWidth(name, letters.text)
    if (x > 2 && x + wide > width - 2) [x, row] = [2, row + 19]
    const drawn = [draw(entry, x, row), element('text', { x: x + lead, y: row + 4 }, name, whole(name, entry.name))]
    x += wide + 20
    return drawn
  })
  return { markup, end: entries.length === 0 ? y : row + 16 }
}
