/**
 * Draws a forest plot: in each row a mean with its interval and a dot for each seed, on a common axis with a line at
 * zero. Intervals that exclude zero are filled and coloured, others hollow and grey, so that differences are seen
 * first. If a few rows lie so far out that the others would be dots, the axis is broken before them.
 */

import { sameDecimals, valueLabel } from '../../../core/text/number-labels.ts'
import type { IntervalFigure } from '../blocks.ts'
import { type Child, element, type Markup } from '../markup.ts'
import { withoutOutliers } from '../outliers.ts'
import { type Box, letters, noData, notes, rowLine, rowsPlane } from './axes.ts'
import { type Body, isNarrow } from './body.ts'
import { brokenScale, type Scale, scaleOf, usable } from './scale.ts'
import { textLines, textWidth, wrapText } from './text.ts'

type Row = IntervalFigure['rows'][number]

export function intervalsBody(figure: IntervalFigure, width: number): Body {
  const narrow = isNarrow(width)
  const kind = figure.x.scale
  const format = rowFormatter(figure.rows)
  const longest = Math.max(60, ...figure.rows.map(({ label }) => textWidth(label, letters.text)))
  const left = narrow ? 12 : Math.min(longest + 16, width * 0.34)
  const textRoom = narrow ? 0 : Math.max(...figure.rows.map((row) => textWidth(format(row), letters.small)), 40) + 14
  const box: Box = { left, right: width - Math.max(14, textRoom), top: 0, bottom: 0 }
  const x = axisOf(figure, box)
  const zero = x.has(figure.zero) ? x.at(figure.zero) : undefined
  const sides = zero === undefined ? { markup: undefined, end: 8 } : sideLabels(figure.sides, zero, width)
  // A name that does not fit beside its numbers has a line of its own, and then all names have one.
  const nameHeight = figure.rows.some(
    (row) => narrow && textWidth(row.label, letters.text) > besideNumbers(format(row), width),
  )
    ? 16
    : 0
  const rowHeight = narrow ? 54 + nameHeight : 40
  const plane: Box = { ...box, top: sides.end, bottom: sides.end + rowHeight * Math.max(1, figure.rows.length) + 4 }
  const shown = figure.rows.filter(({ mean }) => usable(kind, mean))
  const broken = x.breaks ?? []
  const remark = broken.length > 0 ? ['The axis is broken at //: beyond it, distances are drawn shorter.'] : []
  const small = notes(remark, width, plane.bottom + 44)
  return {
    height: small.end + 2,
    markup: [
      rowsPlane(x, figure.x.label, plane, width),
      broken.map((at) => axisBreak(at, plane)),
      small.markup,
      sides.markup,
      zero === undefined
        ? undefined
        : element('line', { class: 'zero', x1: zero, x2: zero, y1: plane.top, y2: plane.bottom }),
      figure.rows.map((row, i) =>
        rowOf(row, x, figure.zero, plane, {
          top: plane.top + i * rowHeight,
          rowHeight,
          width,
          narrow,
          nameHeight,
          text: format(row),
        }),
      ),
      figure.rows.length === 0 ? noData(plane) : undefined,
    ],
    description: description(figure, shown, format),
  }
}

/** The axis over all values, broken before rows that lie far out. */
function axisOf({ rows, zero, x: { scale: kind } }: IntervalFigure, box: Box): Scale {
  const valuesOf = ({ mean, low, high, values }: Row) => [mean, low, high, ...values]
  const project = kind === 'log' ? Math.log10 : (value: number) => value
  const distance = (row: Row) =>
    Math.max(
      ...valuesOf(row)
        .filter((value) => usable(kind, value))
        .map((value) => Math.abs(project(value) - project(zero))),
    )
  const all = [zero, ...rows.flatMap(valuesOf)]
  const range = [box.left, box.right] as const
  const room = Math.max(2, Math.round((box.right - box.left) / 80))
  const limit = withoutOutliers(rows.map(distance))
  if (limit === null) return scaleOf(kind, all, range, room)
  const inner = [zero, ...rows.filter((row) => distance(row) <= limit).flatMap(valuesOf)]
  return brokenScale(kind, inner, all, range, room)
}

/** A break of the axis: two slanted lines on it, and a dashed line across the rows. */
const axisBreak = (at: number, { top, bottom }: Box): Child => [
  element('line', { class: 'break-line', x1: at, x2: at, y1: top, y2: bottom - 8 }),
  element('path', { class: 'break', d: `M${(at - 5).toFixed(1)} ${bottom + 6}l5 -12m1 12l5 -12` }),
]

/** Meaning of both sides of zero, next to the line if there is room, otherwise on two lines of text. */
function sideLabels(
  [left, right]: IntervalFigure['sides'],
  zero: number,
  width: number,
): { markup: Child; end: number } {
  const words = [`←\u00a0${left}`, `${right}\u00a0→`] as const
  const [leftWidth, rightWidth] = words.map((text) => textWidth(text, letters.text)) as [number, number]
  if (zero - 10 - leftWidth > 2 && zero + 10 + rightWidth < width - 2) {
    return {
      markup: [
        element('text', { class: 'side', x: zero - 10, y: 18, 'text-anchor': 'end' }, words[0]),
        element('text', { class: 'side', x: zero + 10, y: 18 }, words[1]),
      ],
      end: 28,
    }
  }
  const [first = [], second = []] = words.map((text) => wrapText(text, letters.text, width - 8, 2))
  const below = 18 + 16 * first.length
  return {
    markup: [
      textLines(first, { class: 'side', x: 2, y: 18, 'text-anchor': 'start' }, 16),
      textLines(second, { class: 'side', x: width - 4, y: below, 'text-anchor': 'end' }, 16),
    ],
    end: 12 + 16 * (first.length + second.length),
  }
}

/** Room for a name on the line of the numbers. */
const besideNumbers = (numbers: string, width: number): number => width - textWidth(numbers, letters.small) - 20

interface RowPlace {
  readonly top: number
  readonly rowHeight: number
  readonly width: number
  readonly narrow: boolean
  /** Height of a line for the name above the numbers; 0 if they share a line. */
  readonly nameHeight: number
  /** Mean and interval as text. */
  readonly text: string
}

function rowOf(
  row: Row,
  x: Scale,
  zero: number,
  box: Box,
  { top, rowHeight, width, narrow, nameHeight, text }: RowPlace,
): Child {
  const middle = top + (narrow ? 28 + nameHeight : rowHeight / 2 - 4)
  const nameRoom = nameHeight > 0 ? width - 4 : besideNumbers(text, width)
  const room = narrow ? nameRoom : box.left - 14
  const name = wrapText(row.label, letters.text, room, narrow ? 1 : 2)
  const textY = narrow ? top + 14 : top + rowHeight / 2 + 4
  return [
    rowLine(top + rowHeight, width),
    textLines(name, { class: 'halo', x: 2, y: textY - 7.5 * (name.length - 1) }, 15, row.label),
    element('text', { class: 'small halo', x: width - 3, y: textY + nameHeight, 'text-anchor': 'end' }, text),
    intervalMark(row, x, zero, middle),
    row.values
      .filter((value) => x.has(value))
      .map((value) => element('circle', { class: 'seed', cx: x.at(value), cy: middle + 13, r: 3 })),
  ]
}

function intervalMark({ mean, low, high }: Row, x: Scale, zero: number, y: number): Child {
  if (!x.has(mean)) return undefined
  const interval = x.has(low) && x.has(high)
  const excludesZero = interval && (low > zero || high < zero)
  const tone = excludesZero ? (mean < zero ? 'left' : 'right') : 'open'
  const [from, to] = interval ? [x.at(low), x.at(high)] : [0, 0]
  const barY = y.toFixed(1)
  const bar = interval
    ? element('path', {
        class: `interval ${tone}`,
        d: `M${from.toFixed(1)} ${barY}H${to.toFixed(1)}M${from.toFixed(1)} ${(y - 4).toFixed(1)}v8M${to.toFixed(1)} ${(y - 4).toFixed(1)}v8`,
      })
    : undefined
  const middle = x.at(mean)
  const diamond: Markup = element('path', {
    class: `mean ${tone}`,
    d: `M${middle.toFixed(1)} ${(y - 6).toFixed(1)}l6 6l-6 6l-6 -6z`,
  })
  return [bar, diamond]
}

/** Formats rows, such as −0.031 (−0.040 to −0.022), with the decimals that the narrowest interval needs. */
function rowFormatter(rows: readonly Row[]): (row: Row) => string {
  const widths = rows.map(({ low, high }) => (high - low) / 2).filter((width) => Number.isFinite(width) && width > 0)
  const means = rows.map(({ mean }) => Math.abs(mean)).filter((mean) => Number.isFinite(mean) && mean > 0)
  const format = sameDecimals(Math.min(...(widths.length > 0 ? widths : means.map((mean) => mean / 10))))
  // An end that is rounded to zero keeps its sign: whether zero is inside is what a reader looks for.
  const end = (value: number) => (value < 0 && Number(format(value)) === 0 ? `−${format(value)}` : format(value))
  return ({ mean, low, high }) => {
    if (!Number.isFinite(mean)) return 'no data yet'
    const interval = Number.isFinite(low) && Number.isFinite(high)
    return interval ? `${format(mean)} (${end(low)} to ${end(high)})` : format(mean)
  }
}

function description(figure: IntervalFigure, shown: readonly Row[], format: (row: Row) => string): string {
  const zero = Number.isFinite(figure.zero)
    ? `; left of ${valueLabel(figure.zero)} is ${figure.sides[0]}, right of it ${figure.sides[1]}`
    : ''
  const what = `Forest plot of ${figure.x.label}${zero}`
  if (shown.length === 0) return `${what}: no data yet.`
  return `${what}. ${shown.map((row) => `${row.label}: ${format(row)}`).join('; ')}.`
}
