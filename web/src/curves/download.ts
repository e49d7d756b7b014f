/** Downloads a card, or another picture, as a file. */

import type { SeriesAnswer } from '../../../src/faces/watch/api.ts'
import type { Ink } from '../shell/theme.ts'
import { drawFigure, FIGURE_WIDTH, type Figure, figureHeight } from './drawing/figure.ts'
import { CanvasSurface, SvgSurface } from './drawing/surface.ts'

/** Pixels of the PNG per unit of the drawing: sharp on paper and on screens of high resolution. */
const PNG_SCALE = 2

export function downloadSvg(figure: Figure, ink: Ink): void {
  const surface = new SvgSurface(FIGURE_WIDTH, figureHeight(figure))
  drawFigure(surface, figure, ink)
  save(new Blob([String(surface)], { type: 'image/svg+xml' }), fileName(figure.metric, 'svg'))
}

export function downloadPng(figure: Figure, ink: Ink): void {
  const canvas = document.createElement('canvas')
  canvas.width = FIGURE_WIDTH * PNG_SCALE
  canvas.height = figureHeight(figure) * PNG_SCALE
  const context = canvas.getContext('2d')
  if (!context) return
  context.scale(PNG_SCALE, PNG_SCALE)
  drawFigure(new CanvasSurface(context), figure, ink)
  savePng(canvas, figure.metric)
}

export function savePng(canvas: HTMLCanvasElement, name: string): void {
  canvas.toBlob((blob) => {
    if (blob) save(blob, fileName(name, 'png'))
  }, 'image/png')
}

export function downloadCsv(metric: string, csv: string): void {
  save(new Blob([csv], { type: 'text/csv' }), fileName(metric, 'csv'))
}

const fileName = (metric: string, ending: string) => `${metric.replace(/[^\w.-]+/g, '-')}.${ending}`

function save(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob)
  const link = document.createElement('a')
  link.href = address
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(address), 1000)
}

export function toCsv({ x: axis, metric, series }: SeriesAnswer, names: ReadonlyMap<string, string>): string {
  const rows = [['run', axis, metric, `${metric} (not smoothed)`].map(cell).join(',')]
  for (const { run, x, y, raw = y } of series) {
    const name = cell(names.get(run) ?? run)
    x.forEach((place, i) => {
      rows.push(`${name},${place},${y[i] ?? ''},${raw[i] ?? ''}`)
    })
  }
  return `${rows.join('\r\n')}\r\n`
}

/** Lines of a table. */
export const csvText = (lines: readonly (readonly (string | number)[])[]): string =>
  `${lines.map((line) => line.map((each) => (typeof each === 'number' ? each : cell(each))).join(',')).join('\r\n')}\r\n`

/** An apostrophe keeps spreadsheets from evaluating text that looks like a formula. */
function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
