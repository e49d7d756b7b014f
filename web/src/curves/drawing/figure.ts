/** A plot for download: title, axes, lines and legend on a background, on any surface. */
import { metricOf } from '../../../../src/core/text/metrics.ts'
import type { XAxis } from '../../../../src/faces/watch/api.ts'
import { formatValue } from '../../shared/format-value.ts'
import type { Ink } from '../../shell/theme.ts'
import type { Line, Range } from './lines.ts'
import type { Outside } from './outliers.ts'
import { type Frame, paint, toX, toY } from './paint.ts'
import type { Surface } from './surface.ts'
import { axisTitles, xTicks, yTicks } from './ticks.ts'

export interface Figure {
  readonly metric: string
  readonly axis: XAxis
  readonly lines: readonly Line[]
  readonly x: Range
  readonly y: Range
  /** Values beyond the range of y, if outliers are left out. */
  readonly outside?: Outside
  readonly log: boolean
  /** The x of a vertical line on the page; a downloaded figure has none. */
  readonly mark?: number
}

export const FIGURE_WIDTH = 960
const PLOT_HEIGHT = 480
const LEFT = 76
const RIGHT = 24
const TOP = 48
const BELOW = 52
const LEGEND_ROW = 20
const LEGEND_COLUMNS = 3
/** A legend with hundreds of entries would not be readable. */
const MAX_LEGEND_ENTRIES = 60

const legendHeight = (lines: number) =>
  Math.ceil(Math.min(lines, MAX_LEGEND_ENTRIES + 1) / LEGEND_COLUMNS) * LEGEND_ROW + 12

export const figureHeight = ({ lines }: Figure): number => TOP + PLOT_HEIGHT + BELOW + legendHeight(lines.length)

export function drawFigure(surface: Surface, figure: Figure, ink: Ink): void {
  const box = { left: LEFT, top: TOP, width: FIGURE_WIDTH - LEFT - RIGHT, height: PLOT_HEIGHT }
  const frame: Frame = { box, x: figure.x, y: figure.y, log: figure.log }
  surface.box({ left: 0, top: 0, width: FIGURE_WIDTH, height: figureHeight(figure) }, ink.back)
  surface.text(titleOf(figure), LEFT, 30, { color: ink.text, size: 16, anchor: 'start', bold: true })
  if (figure.outside) {
    const note = outsideText(figure.outside)
    surface.text(note, FIGURE_WIDTH - RIGHT, 30, { color: ink.quiet, size: 12, anchor: 'end' })
  }
  drawAxes(surface, figure, frame, ink)
  paint(surface, figure.lines, frame, 1)
  drawLegend(surface, figure, ink)
}

function titleOf({ metric }: Figure): string {
  const known = metricOf(metric)
  if (!known) return metric
  return known.unit === null ? known.name : `${known.name}, ${known.unit}`
}

function drawAxes(surface: Surface, { axis, x, y, log }: Figure, frame: Frame, ink: Ink): void {
  const { box } = frame
  const bottom = box.top + box.height
  const labelStyle = { color: ink.quiet, size: 12 }
  const grid = { color: ink.grid, width: 1 }
  for (const { value, label } of yTicks(log, y.min, y.max, 7)) {
    const at = toY(frame, value)
    surface.line([box.left, at, box.left + box.width, at], grid)
    surface.text(label, box.left - 8, at + 4, { ...labelStyle, anchor: 'end' })
  }
  for (const { value, label } of xTicks(axis, x.min, x.max, 8)) {
    const at = toX(frame, value)
    surface.line([at, box.top, at, bottom], grid)
    surface.text(label, at, bottom + 18, { ...labelStyle, anchor: 'middle' })
  }
  surface.text(axisTitles[axis], box.left + box.width / 2, bottom + 40, { ...labelStyle, anchor: 'middle' })
}

function drawLegend(surface: Surface, { lines }: Figure, ink: Ink): void {
  const width = (FIGURE_WIDTH - LEFT - RIGHT) / LEGEND_COLUMNS
  const start = TOP + PLOT_HEIGHT + BELOW + 12
  lines.slice(0, MAX_LEGEND_ENTRIES).forEach(({ name, style, y }, index) => {
    const x = LEFT + (index % LEGEND_COLUMNS) * width
    const base = start + Math.floor(index / LEGEND_COLUMNS) * LEGEND_ROW
    surface.line([x, base - 4, x + 22, base - 4], { color: style.color, width: 3, dash: style.dash })
    const last = y.findLast((value) => value !== null)
    // The name is isolated (U+2068, U+2069), so that a right-to-left script does not reorder the number.
    surface.text(`\u2068${shortened(name, 24)}\u2069  ${formatValue(last)}`, x + 30, base, {
      color: ink.text,
      size: 12,
      anchor: 'start',
    })
  })
  if (lines.length <= MAX_LEGEND_ENTRIES) return
  const base = start + Math.floor(MAX_LEGEND_ENTRIES / LEGEND_COLUMNS) * LEGEND_ROW
  surface.text(`and ${lines.length - MAX_LEGEND_ENTRIES} more`, LEFT, base, {
    color: ink.quiet,
    size: 12,
    anchor: 'start',
  })
}

/** Note about the values outside; empty if there are none. */
function outsideText({ above, below }: Outside): string {
  const parts = [above !== null && `▲ up to ${formatValue(above)}`, below !== null && `▼ down to ${formatValue(below)}`]
  return parts.filter((part) => part !== false).join('   ')
}

/** Cuts out the middle of a long name, because beginning and end differ more often. */
function shortened(name: string, max: number): string {
  const characters = [...name]
  if (characters.length <= max) return name
  const half = Math.floor(max / 2)
  return `${characters.slice(0, half).join('')}…${characters.slice(-half).join('')}`
}
