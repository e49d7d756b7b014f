/**
 * Stacked bars: a row a bar, of parts from zero on, with the sum at its end and a line where the limit is. The
 * first things to see are how long bars are, what most of each is, and which go beyond the limit.
 */
import { sum } from 'd3-array'
import type { BarFigure } from '../blocks.ts'
import { type Child, element } from '../markup.ts'
import { type Box, leftOut, letters, noData, notes, planeOfRows, rowLine } from './axes.ts'
import { excess, limitLine, namesOf, partsOf, placedRows, totalWords, wordsWidth } from './bar-rows.ts'
import { limitOf, type Total, totalsOf } from './bar-totals.ts'
import { type Body, isNarrow } from './form.ts'
import { type Entry, legend } from './legend.ts'
import { valueLabel } from './numerals.ts'
import { type PartFills, partFills } from './patterns.ts'
import { type Scale, scaleOf } from './scale.ts'
import { textWidth, wrapped } from './text.ts'

export function barsBody(figure: BarFigure, width: number, hatch: string): Body {
  const narrow = isNarrow(width)
  const fills = partFills(figure.parts.length, hatch)
  const limit = limitOf(figure)
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
      planeOfRows(x.scale, figure.x.label, box, width),
      rows.map((row) => partsOf(row, figure, x.scale, fills)),
      rows.map((row) => excess(row, x.scale)),
      head.markup,
      limit ? limitLine(rows, x.scale.at(limit.value), box, narrow && rows.length > 0) : undefined,
      rows.map(namesOf),
      rows.map((row) => totalWords(row, x.scale, limit?.value)),
      rows.length === 0 ? noData(box) : undefined,
      small.markup,
    ],
    description: description(figure, totals),
  }
}

/** A long note is wrapped rather than have bars shortened for it. */
const longestName = ({ rows }: BarFigure): number =>
  Math.max(
    60,
    ...rows.map(({ label }) => textWidth(label, letters.text)),
    ...rows.map(({ note = '' }) => Math.min(190, textWidth(note, letters.small))),
  )

/** From zero to the longest bar or the limit, as wide as the words at the ends of bars allow. */
function scaleFrom(
  left: number,
  width: number,
  totals: readonly Total[],
  limit: number | undefined,
): { scale: Scale; right: number } {
  const most = Math.max(...totals.map(({ sum }) => sum), limit ?? 0)
  // Smaller ones cannot be told from zero.
  const values = [0, most > 1e-140 ? most : 1]
  const { domain } = scaleOf('linear', values, [0, 1], 2)
  const reach = totals.map(({ sum, words }) => {
    const room = width - left - 10 - wordsWidth(words)
    // Words may have to go behind the line of the limit.
    const end = Math.max(sum, limit ?? 0)
    return end > 0 ? (room * domain[1]) / end : Number.POSITIVE_INFINITY
  })
  const right = Math.max(left + 60, Math.min(width - 14, ...reach.map((one) => left + one)))
  return { scale: scaleOf('linear', values, [left, right], Math.max(2, Math.round((right - left) / 80))), right }
}

const swatch =
  (fills: PartFills) =>
  ({ index }: Entry, x: number, y: number): Child =>
    element('rect', { ...fills.of(index), x, y: y - 6, width: 12, height: 12 })

/** Above its line. */
function limitName(label: string, at: number, width: number, top: number): { markup: Child; end: number } {
  const lines = wrapped(label, letters.text, width - 8, 2)
  const markup = lines.map((line, i) => {
    const half = textWidth(line, letters.text) / 2
    const x = Math.min(Math.max(at, half + 2), width - half - 2)
    return element('text', { class: 'side', x, y: top + 13 + 16 * i, 'text-anchor': 'middle' }, line)
  })
  return { markup, end: top + 16 * lines.length + 8 }
}

function remarks(figure: BarFigure, totals: readonly Total[]): string[] {
  const why = 'negative, not finite, or of no part'
  return [
    ...leftOut(
      sum(totals, (total) => total.leftOut),
      'value',
      why,
    ),
    ...(figure.limit && !limitOf(figure) ? ['The limit is left out: negative or not finite.'] : []),
  ]
}

function description(figure: BarFigure, totals: readonly Total[]): string {
  const limit = limitOf(figure)
  const what = `Stacked bars of ${figure.x.label}${figure.parts.length > 0 ? ` (${figure.parts.join(', ')})` : ''}`
  const line = limit ? `, with a line at ${valueLabel(limit.value)}: ${limit.label}` : ''
  if (totals.length === 0) return `${what}${line}: no data yet.`
  return `${what}${line}. ${totals.map(({ row, words }) => `${row.label}: ${words}`).join('; ')}.`
}
