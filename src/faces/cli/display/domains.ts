/** The table of an evaluation by domain (text of one kind); empty if the text has only one domain. */

import { count, fixed } from '../../../core/text/numbers.ts'
import { printable } from '../../../core/text/printable.ts'
import type { EvalRecord } from '../../../train/step/metrics/records.ts'
import type { Colors } from '../io.ts'

const GAP = 3
const titles = ['tokens', '  loss', 'bits per byte'] as const

/**
 * A table with a line for each domain. Its losses are at the capacity rule of the record.
 * @param room Columns of the terminal.
 */
export function domainTable({ domains = [], capacity }: EvalRecord, { dim }: Colors, room = Infinity): string {
  if (domains.length < 2) return ''
  const width = Math.max(...['domain', ...domains.map(({ name }) => printable(name))].map(({ length }) => length))
  const widths = titles.map(({ length }, i) => (i === 0 ? 8 : length))
  // On a narrow terminal, the values of a domain are a line with their names instead of columns.
  const isTable = 2 + width + widths.reduce((sum, columns) => sum + GAP + columns, 0) <= room
  const line = (cells: readonly string[]) => cells.join(' '.repeat(GAP))
  const padded = (name: string, cells: readonly string[]) =>
    line([name.padEnd(width), ...cells.map((cell, i) => cell.padStart(widths[i] ?? 0))])
  const rows = domains.map(({ name, evaluated_tokens, evaluated_bytes, losses }) => {
    const bits = (losses[capacity] / Math.LN2) * (evaluated_tokens / evaluated_bytes)
    const cells = [count(evaluated_tokens), fixed(losses[capacity], 4), fixed(bits, 4)]
    const shown = printable(name)
    return isTable ? padded(shown, cells) : line([shown, ...cells.map((cell, i) => `${titles[i]?.trim()} ${cell}`)])
  })
  const lines = [...(isTable ? [dim(padded('domain', titles))] : []), ...rows]
  return `\n${lines.map((text) => `  ${text}\n`).join('')}`
}
