/** Draws the rows of a bar figure: name and note, the stacked parts, and their total. */

import { valueLabel } from '../../../core/text/number-labels.ts'
import type { BarFigure } from '../blocks.ts'
import { type Child, coordinate, element } from '../markup.ts'
import { type Box, letters } from './axes.ts'
import { isPart, type Total } from './bar-totals.ts'
import type { PartFills } from './patterns.ts'
import type { Scale } from './scale.ts'
import { textLines, textWidth, title, wrapText } from './text.ts'

export const BAR_HEIGHT = 18
const lineHeight = { name: 15, note: 14 } as const
/** Space between parts. */
const GAP = 1

/** A row with its position. Names are next to the bar, or above it if there is no room. */
export interface PlacedRow {
  readonly total: Total
  readonly name: readonly string[]
  readonly note: readonly string[]
  readonly top: number
  readonly bottom: number
  /** Upper edge of the text. */
  readonly text: number
  /** Upper edge of the bar. */
  readonly bar: number
}

/**
 * @param room width for names and notes
 * @param above whether names and notes are above the bars
 */
export function placedRows(totals: readonly Total[], from: number, room: number, above: boolean): PlacedRow[] {
  let top = from
  return totals.map((total) => {
    const { row } = total
    const name = nameLines(row.label, room)
    const note = (row.note ?? '').trim() === '' ? [] : wrapText(row.note ?? '', letters.small, room, 2)
    const textHeight = lineHeight.name * name.length + lineHeight.note * note.length
    const height = above ? textHeight + BAR_HEIGHT + 20 : Math.max(textHeight, BAR_HEIGHT) + 14
    const placed = above
      ? { text: top + 5, bar: top + textHeight + 10 }
      : { text: top + (height - textHeight) / 2, bar: top + (height - BAR_HEIGHT) / 2 }
    const one = { total, name, note, top, bottom: top + height, ...placed }
    top = one.bottom
    return one
  })
}

/** Breaks a name such as "data 480 · ZeRO 1" at a dot if both lines then fit. */
function nameLines(label: string, room: number): string[] {
  const plain = wrapText(label, letters.text, room, 2)
  const words = label.split(' · ')
  if (plain.length === 1 || words.length === 1) return plain
  const fits = (line: string) => textWidth(line, letters.text) <= room
  const pairs = words.slice(1).map((_, i) => [`${words.slice(0, i + 1).join(' · ')} ·`, words.slice(i + 1).join(' · ')])
  return pairs.findLast((lines) => lines.every(fits)) ?? plain
}

export const namesOf = ({ total: { row }, name, note, text }: PlacedRow): Child => [
  textLines(name, { class: 'halo', x: 2, y: text + 12 }, lineHeight.name, row.label),
  textLines(
    note,
    { class: 'small halo aside', x: 2, y: text + lineHeight.name * name.length + 11 },
    lineHeight.note,
    row.note,
  ),
]

export function partsOf({ total: { row }, bar }: PlacedRow, figure: BarFigure, x: Scale, fills: PartFills): Child {
  let sum = 0
  return figure.parts.map((part, index) => {
    const value = row.values[index]
    if (!isPart(figure, value) || value === 0) return undefined
    const from = x.at(sum)
    sum += value
    const width = x.at(sum) - from
    // The gap takes at most half of a thin part.
    const shape = { x: from, y: bar, width: Math.max(width - GAP, width / 2), height: BAR_HEIGHT }
    return element(
      'g',
      {},
      title(`${row.label}, ${part}: ${valueLabel(value)}`),
      element('rect', { ...fills.of(index), ...shape }),
    )
  })
}

/** A frame around the excess over the limit, which is visible on any colour. */
export function excess({ bar, total: { sum, over } }: PlacedRow, x: Scale): Child {
  if (over === undefined) return undefined
  const from = x.at(sum - over)
  return element('rect', { class: 'excess', x: from, y: bar - 2, width: x.at(sum) - from + 1, height: BAR_HEIGHT + 4 })
}

/**
 * The line of the limit.
 * @param interrupted whether to draw it at bars only, so that it does not cross the names above them
 */
export function limitLine(rows: readonly PlacedRow[], at: number, box: Box, interrupted: boolean): Child {
  const pieces: [from: number, to: number][] = interrupted
    ? [[box.top - 4, box.top + 3], ...rows.map(({ bar }): [number, number] => [bar - 5, bar + BAR_HEIGHT + 5])]
    : [[box.top - 4, box.bottom]]
  const d = pieces.map(([from, to]) => `M${coordinate(at)} ${coordinate(from)}V${coordinate(to)}`).join('')
  return [element('path', { class: 'limit-halo', d }), element('path', { class: 'limit', d })]
}

/** Width of a total, which is bold if it exceeds the limit. */
export const totalWidth = (label: string): number => textWidth(label, letters.small * 1.1)

/** The total after the end of its bar, or after the line of the limit if that would cross it. */
export function totalLabel(
  { bar, total: { sum, over, label } }: PlacedRow,
  x: Scale,
  limit: number | undefined,
): Child {
  const [end, line] = [x.at(sum), limit === undefined ? undefined : x.at(limit)]
  const crosses = line !== undefined && line > end - 1 && line < end + 10 + totalWidth(label)
  const place = { x: (crosses ? Math.max(end, line) : end) + 6, y: bar + BAR_HEIGHT / 2 + 4 }
  return element('text', { class: `small halo${over === undefined ? '' : ' over'}`, ...place }, label)
}
