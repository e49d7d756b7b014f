/**
 * The numbers of a figure as a table: for those who cannot see it, who print it, or who want to copy it.
 * A long curve is given by its beginning and its end.
 */
import type { BarFigure, Figure, HeatFigure, IntervalFigure, LineFigure, ScatterFigure, Table } from './blocks.ts'
import { totalsOf } from './figures/bar-totals.ts'
import { valueLabel } from './figures/numerals.ts'

type Column = Table['columns'][number]

const left = (title: string): Column => ({ title, align: 'left' })
const right = (title: string): Column => ({ title, align: 'right' })
const shown = (value: number | null | undefined): string =>
  value === undefined || value === null ? '–' : valueLabel(value)

export function numbersOf(figure: Figure): Table {
  const caption = `Numbers of the figure`
  const { columns, rows } = columnsOf(figure)
  return { kind: 'table', caption, columns, rows }
}

type Grid = Pick<Table, 'columns' | 'rows'>

function columnsOf(figure: Figure): Grid {
  switch (figure.form) {
    case 'lines':
      return ofLines(figure)
    case 'scatter':
      return ofScatter(figure)
    case 'intervals':
      return ofIntervals(figure)
    case 'heat':
      return ofHeat(figure)
    case 'bars':
      return ofBars(figure)
  }
}

/** More than this of a curve is for the figure. */
const FEW_POINTS = 8

function ofLines({ series, x, y }: LineFigure): Grid {
  const bands = series.some(({ low, high }) => low && high)
  return {
    columns: [left('Series'), right(x.label), right(y.label), ...(bands ? [right('Low'), right('High')] : [])],
    rows: series.flatMap((one) => {
      const all = one.x.map((_, i) => i)
      const picked = all.length <= FEW_POINTS ? all : [0, all.length - 1]
      return picked.map((i) => [
        one.name,
        shown(one.x[i]),
        shown(one.y[i]),
        ...(bands ? [shown(one.low?.[i]), shown(one.high?.[i])] : []),
      ])
    }),
  }
}

function ofScatter({ points, x, y }: ScatterFigure): Grid {
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
      shown(point.x),
      shown(point.y),
      ...(bars ? [shown(point.low), shown(point.high)] : []),
    ]),
  }
}

function ofIntervals({ rows, x }: IntervalFigure): Grid {
  return {
    columns: [left('Row'), right(x.label), right('Low'), right('High'), left('One value a seed')],
    rows: rows.map(({ label, mean, low, high, values }) => [
      label,
      shown(mean),
      shown(low),
      shown(high),
      values.map(shown).join(', '),
    ]),
  }
}

function ofHeat({ panels, xLabel, yLabel }: HeatFigure): Grid {
  const columns = panels.reduce<readonly string[]>(
    (most, panel) => (panel.columns.length > most.length ? panel.columns : most),
    [],
  )
  // A table of hundreds of columns helps nobody: every so many, as the figure names them.
  const every = Math.max(1, Math.ceil(columns.length / 16))
  const picked = columns.map((_, i) => i).filter((i) => i % every === 0)
  return {
    columns: [left('Panel'), left(yLabel), ...picked.map((i) => right(`${xLabel} ${columns[i] ?? ''}`))],
    rows: panels.flatMap((panel) =>
      panel.rows.map((row, r) => [panel.title, row, ...picked.map((i) => shown(panel.values[r]?.[i]))]),
    ),
  }
}

function ofBars(figure: BarFigure): Grid {
  const { rows, parts, x, limit } = figure
  const noted = rows.some(({ note }) => note !== undefined)
  const also = (text: string) => (noted ? [text] : [])
  const ruled = limit ? [[limit.label, shown(limit.value), ...parts.map(() => ''), ...also('')]] : []
  return {
    columns: [left('Row'), right(`Total: ${x.label}`), ...parts.map(right), ...(noted ? [left('Note')] : [])],
    rows: [
      ...totalsOf(figure).map(({ row, words }) => [
        row.label,
        words,
        ...parts.map((_, i) => shown(row.values[i])),
        ...also(row.note ?? ''),
      ]),
      ...ruled,
    ],
  }
}
