/**
 * Matrices by colour, all panels on one scale.
 * Panels go beside each other as long as their columns stay wide enough.
 */
import { extent } from 'd3-array'
import type { HeatFigure } from '../blocks.ts'
import type { Child } from '../markup.ts'
import { noData } from './axes.ts'
import { type Body, isNarrow } from './form.ts'
import { colourBar, heatColours } from './heat-colours.ts'
import { type Look, panelOf } from './heat-panel.ts'
import { evenly, valueLabel } from './numerals.ts'
import { hatching } from './patterns.ts'
import { usable } from './scale.ts'

type Panel = HeatFigure['panels'][number]

export function heatBody(figure: HeatFigure, width: number, hatch: string): Body {
  const numbers = figure.panels.flatMap(({ values }) => values.flat()).filter((value) => usable('linear', value))
  const colours = heatColours(numbers, figure.middle)
  const look: Look = {
    figure,
    colours,
    hatch,
    write: evenly(Math.max(0, ...numbers.map(Math.abs).map((size) => size / 20))),
  }
  const shown = figure.panels.filter(({ rows, columns }) => rows.length > 0 && columns.length > 0)
  const across = isNarrow(width) ? 1 : Math.min(shown.length, bestAcross(shown))
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

/** Few columns leave room for several panels beside each other. */
function bestAcross(panels: readonly Panel[]): number {
  const columns = Math.max(1, ...panels.map((panel) => panel.columns.length))
  return columns <= 6 ? 3 : columns <= 64 ? 2 : 1
}

function description(figure: HeatFigure, shown: readonly Panel[], numbers: readonly number[]): string {
  const what = `Matrices of ${figure.valueLabel} by ${figure.yLabel} and ${figure.xLabel}`
  const [low, high] = extent(numbers)
  if (low === undefined) return `${what}: no data yet.`
  return `${what}; ${shown.length} ${shown.length === 1 ? 'panel' : 'panels'} (${shown.map((panel) => panel.title).join('; ')}), from ${valueLabel(low)} to ${valueLabel(high)}.`
}
