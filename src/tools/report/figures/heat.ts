/**
 * Draws heat maps. All panels have one colour scale, and are side by side if their columns stay wide enough.
 *
 * Cells of one colour are one path, since a matrix of experts and steps has thousands of cells and a report has many
 * matrices. Large cells contain their number.
 */
import { extent, max } from 'd3-array'
import { sameDecimals, valueLabel } from '../../../core/text/number-labels.ts'
import type { HeatFigure } from '../blocks.ts'
import { type Child, coordinate, element } from '../markup.ts'
import { letters, noData } from './axes.ts'
import { type Body, isNarrow } from './body.ts'
import { colourBar, type HeatColours, heatColours } from './heat-colours.ts'
import { hatching } from './patterns.ts'
import { usable } from './scale.ts'
import { textWidth, titleIfCut, truncate } from './text.ts'

type Panel = HeatFigure['panels'][number]

/** Settings that all panels of a figure share. */
interface Look {
  readonly figure: HeatFigure
  readonly colours: HeatColours
  /** Id of the pattern for missing values. */
  readonly hatch: string
  readonly format: (value: number) => string
}

/** Position of a panel's cells. */
interface Grid {
  readonly left: number
  readonly top: number
  readonly cellWidth: number
  readonly cellHeight: number
}

interface PanelPlace {
  readonly x: number
  readonly top: number
  readonly width: number
}

export function heatBody(figure: HeatFigure, width: number, hatch: string): Body {
  const numbers = figure.panels.flatMap(({ values }) => values.flat()).filter((value) => usable('linear', value))
  const colours = heatColours(numbers, figure.middle)
  const look: Look = { figure, colours, hatch, format: sameDecimals((max(numbers, Math.abs) ?? 0) / 20) }
  const shown = figure.panels.filter(({ rows, columns }) => rows.length > 0 && columns.length > 0)
  const across = isNarrow(width) ? 1 : Math.min(shown.length, panelsAcross(shown))
  const panelWidth = (width - 24 * (across - 1)) / Math.max(1, across)
  let top = 0
  const drawn: Child[] = []
  for (let first = 0; first < shown.length; first += across) {
    const row = shown
      .slice(first, first + across)
      .map((panel, i) => panelOf(panel, look, { x: i * (panelWidth + 24), top, width: panelWidth }))
    drawn.push(row.map(({ markup }) => markup))
    top = Math.max(...row.map(({ end }) => end))
  }
  const empty = shown.length === 0 || numbers.length === 0
  const missing = shown.some(({ rows, columns, values }) =>
    rows.some((_, r) => columns.some((_, c) => !usable('linear', values[r]?.[c]))),
  )
  if (shown.length === 0) {
    drawn.push(noData({ left: 0, right: width, top: 0, bottom: 80 }))
    top = 90
  }
  const bar = empty
    ? { markup: shown.length > 0 ? noData({ left: 0, right: width, top, bottom: top + 30 }) : undefined, end: top + 30 }
    : colourBar(colours, figure.valueLabel, missing ? hatch : undefined, width, top + 6)
  return {
    height: bar.end,
    markup: [hatching(hatch), drawn, bar.markup],
    description: description(figure, shown, numbers),
  }
}

/** Number of panels side by side: more if they have few columns. */
function panelsAcross(panels: readonly Panel[]): number {
  const columns = Math.max(1, ...panels.map((panel) => panel.columns.length))
  return columns <= 6 ? 3 : columns <= 64 ? 2 : 1
}

function panelOf(panel: Panel, look: Look, { x, top, width }: PanelPlace): { markup: Child; end: number } {
  const { rows, columns } = panel
  const { figure } = look
  const longest = Math.max(0, ...rows.map((row) => textWidth(row, letters.small)))
  const left = x + Math.min(longest + 10, width * 0.35)
  const room = x + width - left - 4
  const cellWidth = Math.min(room / columns.length, 64)
  const cellHeight = Math.max(
    Math.min(26, cellWidth * 1.2),
    Math.min(14, 260 / rows.length),
    Math.min(3, 900 / rows.length),
  )
  const yLabel = truncate(`↓ ${figure.yLabel}`, letters.small, width - 4)
  const grid: Grid = { left, top: top + (panel.title === '' ? 26 : 44), cellWidth, cellHeight }
  const bottom = grid.top + rows.length * cellHeight
  const names = columnNames(panel, grid, bottom, x, x + width)
  const xLabel = truncate(`${figure.xLabel} →`, letters.small, width - 4)
  const middle = Math.min(left + (cellWidth * columns.length) / 2, x + width - textWidth(xLabel, letters.small) / 2 - 2)
  const markup = [
    element('text', { class: 'label', x: x + 2, y: top + 18 }, truncate(panel.title, letters.bold, width - 4)),
    element('text', { class: 'small', x: x + 2, y: grid.top - 8 }, yLabel),
    rowNames(panel, grid, left - x - 8),
    cells(panel, grid, look),
    names.markup,
    element(
      'text',
      {
        class: 'small',
        x: Math.max(middle, x + 2 + textWidth(xLabel, letters.small) / 2),
        y: bottom + names.depth + 15,
        'text-anchor': 'middle',
      },
      xLabel,
    ),
  ]
  return { markup, end: bottom + names.depth + 28 }
}

function rowNames({ rows }: Panel, { left, top, cellHeight }: Grid, room: number): Child {
  const every = Math.ceil(13 / cellHeight)
  return rows.map((row, i) => {
    if (i % every !== 0) return undefined
    const name = truncate(row, letters.small, room)
    return element(
      'text',
      { class: 'small', x: left - 6, y: top + (i + 0.5) * cellHeight + 4, 'text-anchor': 'end' },
      name,
      titleIfCut(name, row),
    )
  })
}

/**
 * Names of columns, which are horizontal if they fit. Otherwise words are rotated, and only every n-th number is shown.
 */
function columnNames(
  { columns }: Panel,
  { left, cellWidth }: Grid,
  bottom: number,
  from: number,
  to: number,
): { markup: Child; depth: number } {
  const longest = Math.max(...columns.map((column) => textWidth(column, letters.small)))
  const words = columns.some((column) => /[^\d.,%\s–-]/.test(column))
  const rotated = longest + 6 > cellWidth && words && cellWidth >= 12
  const every = rotated ? 1 : Math.ceil((words ? Math.min(longest + 6, 80) : longest + 8) / cellWidth)
  const names = columns.flatMap((column, i) => {
    if (i % every !== 0) return []
    const centre = left + (i + 0.5) * cellWidth
    const room = rotated ? Math.min(160, (centre - from - 8) * Math.SQRT2) : every * cellWidth - 4
    const name = truncate(column, letters.small, room)
    return [{ column, centre, name, length: textWidth(name, letters.small) }]
  })
  const markup = names.map(({ column, centre, name, length }) => {
    const [x, y] = rotated
      ? [centre + 4, bottom + 12]
      : [Math.max(from + length / 2, Math.min(centre, to - length / 2)), bottom + 15]
    const place = rotated
      ? { transform: `rotate(-45 ${coordinate(x)} ${coordinate(y)})`, 'text-anchor': 'end' }
      : { 'text-anchor': 'middle' }
    return element('text', { class: 'small', x, y, ...place }, name, titleIfCut(name, column))
  })
  return { markup, depth: rotated ? 14 + Math.max(...names.map(({ length }) => length)) * Math.SQRT1_2 : 16 }
}

function cells({ rows, columns, values }: Panel, grid: Grid, { colours, hatch, format }: Look): Child {
  const { left, top, cellWidth, cellHeight } = grid
  const paths = new Map<string, string[]>()
  const numbers: Child[] = []
  const all = rows.flatMap((_, r) => columns.map((_, c) => values[r]?.[c]).filter((value) => usable('linear', value)))
  const widest = max(all, (value) => textWidth(format(value), letters.small)) ?? 0
  const hasNumbers = widest + 6 <= cellWidth && cellHeight >= 15
  rows.forEach((_, r) => {
    columns.forEach((_, c) => {
      const value = values[r]?.[c]
      const [x, y] = [left + c * cellWidth, top + r * cellHeight]
      const isUsable = usable('linear', value)
      const fill = isUsable ? colours.of(value) : `url(#${hatch})`
      const path = paths.get(fill) ?? []
      paths.set(fill, path)
      path.push(
        `M${coordinate(x)} ${coordinate(y)}h${coordinate(cellWidth)}v${coordinate(cellHeight)}h${coordinate(-cellWidth)}z`,
      )
      if (hasNumbers && isUsable) {
        const at = { x: x + cellWidth / 2, y: y + cellHeight / 2 + 4 }
        numbers.push(
          element('text', { ...at, class: `small ink-${colours.ink(value)}`, 'text-anchor': 'middle' }, format(value)),
        )
      }
    })
  })
  const colour = ([fill, path]: [string, string[]]) => element('path', { class: 'cells', fill, d: path.join('') })
  return [[...paths].map(colour), numbers]
}

function description(figure: HeatFigure, shown: readonly Panel[], numbers: readonly number[]): string {
  const what = `Matrices of ${figure.valueLabel} by ${figure.yLabel} and ${figure.xLabel}`
  const [low, high] = extent(numbers)
  if (low === undefined) return `${what}: no data yet.`
  return `${what}; ${shown.length} ${shown.length === 1 ? 'panel' : 'panels'} (${shown.map((panel) => panel.title).join('; ')}), from ${valueLabel(low)} to ${valueLabel(high)}.`
}
