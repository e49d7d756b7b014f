/** The points of a card as CSV (RFC 4180). */
import type { SeriesAnswer } from '../../../../src/faces/watch/api.ts'

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
