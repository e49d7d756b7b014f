/**
 * The numbers of a figure as a table, for readers who cannot see it, print it, or copy its values. A long curve is
 * represented by its first and last point.
 */

import { valueLabel } from '../../../core/text/number-labels.ts'
import type {
  BarFigure,
  Figure,
  Grid,
  HeatFigure,
  IntervalFigure,
  LineFigure,
  ScatterFigure,
  Table,
} from '../blocks.ts'
import { totalsOf } from '../figures/bar-totals.ts'

type Column = Table['columns'][number]

const left = (title: string): Column => ({ title, align: 'left' })
const right = (title: string): Column => ({ title, align: 'right' })
const format = (value: number | null | undefined): string => valueLabel(value)

export function figureNumbers(figure: Figure): Grid {
  switch (figure.form) {
    case 'lines':
      return lineNumbers(figure)
    case 'scatter':
      return scatterNumbers(figure)
    case 'intervals':
      return intervalNumbers(figure)
    case 'heat':
      return heatNumbers(figure)
    case 'bars':
      return barNumbers(figure)
  }
}

/** Longest curve, in points, that is not abbreviated. */
const FEW_POINTS = 8

function lineNumbers({ series, x, y }: LineFigure): Grid {
  const bands = series.some(({ low, high }) => low && high)
  return {
    columns: [left('Series'), right(x.label), right(y.label), ...(bands ? [right('Low'), right('High')] : [])],
    rows: series.flatMap((one) => {
      const all = one.x.map((_, i) => i)
      const picked = all.length <= FEW_POINTS ? all : [0, all.length - 1]
      return picked.map((i) => [
        one.name,
        format(one.x[i]),
        format(one.y[i]),
        ...(bands ? [format(one.low?.[i]), format(one.high?.[i])] : []),
      ])
    }),
  }
}

function scatterNumbers({ points, x, y }: ScatterFigure): Grid {
  const bars = points.some(({ low, high }) => low !== undefined && high !== undefined)
  return {
    columns: [
      left('Point'),
      left('Group'),
      right(x.label),
      right(y.label),
      ...(bars ? [right('Low'), right('High')] : []),
    ],
    rows: points.map((point) => [
      point.label,
      point.group,
      format(point.x),
      format(point.y),
      ...(bars ? [format(point.low), format(point.high)] : []),
    ]),
  }
}

function intervalNumbers({ rows, x }: IntervalFigure): Grid {
  return {
    columns: [left('Row'), right(x.label), right('Low'), right('High'), left('Values by seed')],
    rows: rows.map(({ label, mean, low, high, values }) => [
      label,
      format(mean),
      format(low),
      format(high),
      values.map(format).join(', '),
    ]),
  }
}

function heatNumbers({ panels, xLabel, yLabel }: HeatFigure): Grid {
  const columns = panels.reduce<readonly string[]>(
    (longest, panel) => (panel.columns.length > longest.length ? panel.columns : longest),
    [],
  )
  // Long matrices are reduced to about 16 columns.
  const every = Math.max(1, Math.ceil(columns.length / 16))
  const picked = columns.map((_, i) => i).filter((i) => i % every === 0)
  return {
    columns: [left('Panel'), left(yLabel), ...picked.map((i) => right(`${xLabel} ${columns[i] ?? ''}`))],
    rows: panels.flatMap((panel) =>
      panel.rows.map((row, r) => [panel.title, row, ...picked.map((i) => format(panel.values[r]?.[i]))]),
    ),
  }
}

function barNumbers(figure: BarFigure): Grid {
  const { rows, parts, x, limit } = figure
  const hasNotes = rows.some(({ note }) => note !== undefined)
  const noteCell = (text: string) => (hasNotes ? [text] : [])
  const limitRow = limit ? [[limit.label, format(limit.value), ...parts.map(() => ''), ...noteCell('')]] : []
  return {
    columns: [left('Row'), right(`Total: ${x.label}`), ...parts.map(right), ...(hasNotes ? [left('Note')] : [])],
    rows: [
      ...totalsOf(figure).map(({ row, label }) => [
        row.label,
        label,
        ...parts.map((_, i) => format(row.values[i])),
        ...noteCell(row.note ?? ''),
      ]),
      ...limitRow,
    ],
  }
}
