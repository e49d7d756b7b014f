/**
 * Draws stacked bars, one per row, with the sum at the end and a line at the limit. Readers should see lengths, large
 * parts and bars beyond the limit first.
 */
import { sum } from 'd3-array'
import { valueLabel } from '../../../core/text/number-labels.ts'
import type { BarFigure } from '../blocks.ts'
import { type Child, element } from '../markup.ts'
import { type Box, letters, noData, notes, omitted, rowLine, rowsPlane } from './axes.ts'
import { excess, limitLine, namesOf, partsOf, placedRows, totalLabel, totalWidth } from './bar-rows.ts'
import { type Total, totalsOf, validLimit } from './bar-totals.ts'
import { type Body, isNarrow } from './body.ts'
import { type Entry, legend } from './legend.ts'
import { type PartFills, partFills } from './patterns.ts'
import { type Scale, scaleOf } from './scale.ts'
import { textWidth, wrapText } from './text.ts'

export function barsBody(figure: BarFigure, width: number, hatch: string): Body {
  const narrow = isNarrow(width)
  const fills = partFills(figure.parts.length, hatch)
  const limit = validLimit(figure)
  const totals = totalsOf(figure)
  const left = narrow ? 4 : Math.min(longestName(figure) + 16, width * 0.4)
  const x = scaleFrom(left, width, totals, limit?.value)
  const key = legend(
    figure.parts.map((name, index) => ({ name, index, line: false })),
    width,
    2,
    swatch(fills),
  )
  const head = limit
    ? limitName(limit.label, x.scale.at(limit.value), width, key.end + 4)
    : { markup: undefined, end: key.end + 8 }
  const rows = placedRows(totals, head.end, narrow ? width - 8 : left - 14, narrow)
  const box: Box = { left, right: x.right, top: head.end, bottom: (rows.at(-1)?.bottom ?? head.end + 60) + 2 }
  const small = notes(remarks(figure, totals), width, box.bottom + 46)
  return {
    height: small.end + 4,
    markup: [
      fills.markup,
      key.markup,
      rows.map(({ bottom }) => rowLine(bottom, width)),
      rowsPlane(x.scale, figure.x.label, box, width),
      rows.map((row) => partsOf(row, figure, x.scale, fills)),
      rows.map((row) => excess(row, x.scale)),
      head.markup,
      limit ? limitLine(rows, x.scale.at(limit.value), box, narrow && rows.length > 0) : undefined,
      rows.map(namesOf),
      rows.map((row) => totalLabel(row, x.scale, limit?.value)),
      rows.length === 0 ? noData(box) : undefined,
      small.markup,
    ],
    description: description(figure, totals),
  }
}

/** Width of the longest name or note. Notes count only up to a limit, since long notes are wrapped. */
const longestName = ({ rows }: BarFigure): number =>
  Math.max(
    60,
    ...rows.map(({ label }) => textWidth(label, letters.text)),
    ...rows.map(({ note = '' }) => Math.min(190, textWidth(note, letters.small))),
  )

/** The scale from zero to the longest bar or the limit, with room for the totals after the bars. */
function scaleFrom(
  left: number,
  width: number,
  totals: readonly Total[],
  limit: number | undefined,
): { scale: Scale; right: number } {
  const longest = Math.max(...totals.map(({ sum }) => sum), limit ?? 0)
  // Smaller lengths are indistinguishable from zero.
  const values = [0, longest > 1e-140 ? longest : 1]
  const { domain } = scaleOf('linear', values, [0, 1], 2)
  const widths = totals.map(({ sum, label }) => {
    const room = width - left - 10 - totalWidth(label)
    // The total may have to be after the line of the limit.
    const end = Math.max(sum, limit ?? 0)
    return end > 0 ? (room * domain[1]) / end : Number.POSITIVE_INFINITY
  })
  const right = Math.max(left + 60, Math.min(width - 14, ...widths.map((one) => left + one)))
  return { scale: scaleOf('linear', values, [left, right], Math.max(2, Math.round((right - left) / 80))), right }
}

const swatch =
  (fills: PartFills) =>
  ({ index }: Entry, x: number, y: number): Child =>
    element('rect', { ...fills.of(index), x, y: y - 6, width: 12, height: 12 })

/** The name of the limit, above its line. */
function limitName(label: string, at: number, width: number, top: number): { markup: Child; end: number } {
  const lines = wrapText(label, letters.text, width - 8, 2)
  const markup = lines.map((line, i) => {
    const half = textWidth(line, letters.text) / 2
    const x = Math.min(Math.max(at, half + 2), width - half - 2)
    return element('text', { class: 'side', x, y: top + 13 + 16 * i, 'text-anchor': 'middle' }, line)
  })
  return { markup, end: top + 16 * lines.length + 8 }
}

function remarks(figure: BarFigure, totals: readonly Total[]): string[] {
  const why = 'negative, not finite, or without a part'
  return [
    ...omitted(
      sum(totals, (total) => total.leftOut),
      'value',
      why,
    ),
    ...(figure.limit && !validLimit(figure) ? ['The limit is left out: negative or not finite.'] : []),
  ]
}

function description(figure: BarFigure, totals: readonly Total[]): string {
  const limit = validLimit(figure)
  const what = `Stacked bars of ${figure.x.label}${figure.parts.length > 0 ? ` (${figure.parts.join(', ')})` : ''}`
  const line = limit ? `, with a line at ${valueLabel(limit.value)}: ${limit.label}` : ''
  if (totals.length === 0) return `${what}${line}: no data yet.`
  return `${what}${line}. ${totals.map(({ row, label }) => `${row.label}: ${label}`).join('; ')}.`
}
