/**
 * A table as a tabular of LaTeX with the rules of booktabs, without caption or float, so that a paper can put it into
 * its own. A long table is a longtable, which continues on the next page. The small print of a cell, such as an interval
 * in math mode, is in a row of its own below, as in the report.
 */
import { dash } from '../../../core/text/numbers.ts'
import type { Cell, Table } from '../blocks.ts'
import { isInterval } from '../interval-cells.ts'
import { isDrawn } from './csv.ts'
import { type ShownNumber, shownNumber, shownRange } from './shown-numbers.ts'
import { texText } from './tex-text.ts'

interface TexColumn {
  readonly title: string
  readonly align: string
  readonly cells: readonly string[]
  /** The small print of each cell; empty without any. */
  readonly notes: readonly string[]
}

/** Longest text, in characters, that stays on one line; longer ones are wrapped. */
const MAX_LINE = 40
/** Most rows of a table that stays on one page. */
const MAX_ROWS = 40

export const isLongTable = ({ rows }: Table): boolean => rows.length > MAX_ROWS

export function texOf(table: Table): string {
  const columns = table.columns.flatMap(({ title, align }, i): TexColumn[] => {
    const cells = table.rows.map((row) => row[i] ?? '')
    if (isDrawn(cells)) return []
    return [{ title: texText(title), ...(align === 'left' ? textColumn(cells) : numberColumn(cells)) }]
  })
  const environment = isLongTable(table) ? 'longtable' : 'tabular'
  const rows = table.rows.map((_, row) => rowOf(columns, row))
  const isSpaced = columns.some(({ notes }) => notes.some((note) => note !== ''))
  return [
    `\\begin{${environment}}{${columns.map(({ align }) => align).join('') || 'l'}}`,
    '\\toprule',
    ...(columns.length > 0 ? [line(columns.map(({ title }) => title)), '\\midrule'] : []),
    ...(isLongTable(table) ? ['\\endhead'] : []),
    rows.length > 0
      ? rows.join(isSpaced ? '\n\\addlinespace\n' : '\n')
      : line([`\\multicolumn{${Math.max(1, columns.length)}}{l}{no data yet}`]),
    '\\bottomrule',
    `\\end{${environment}}`,
    '',
  ].join('\n')
}

const line = (cells: readonly string[]): string => `${cells.join(' & ')} \\\\`

function rowOf(columns: readonly TexColumn[], row: number): string {
  const notes = columns.map((column) => column.notes[row] ?? '')
  return [
    line(columns.map(({ cells }) => cells[row] ?? '')),
    ...(notes.some((note) => note !== '')
      ? [line(notes.map((note) => (note === '' ? '' : `{\\scriptsize ${note}}`)))]
      : []),
  ].join('\n')
}

/** The text of a cell and its small print. */
const shownOf = (cell: Cell): { readonly text: string; readonly note?: string } =>
  isInterval(cell) ? { text: dash } : typeof cell === 'string' ? { text: cell } : cell

function textColumn(cells: readonly Cell[]): Omit<TexColumn, 'title'> {
  const shown = cells.map(shownOf)
  const isLong = shown.some(({ text, note = '' }) => Math.max(text.length, note.length) > MAX_LINE)
  return {
    align: isLong ? 'p{0.34\\linewidth}' : 'l',
    cells: shown.map(({ text }) => texText(text)),
    notes: shown.map(({ note = '' }) => texText(note)),
  }
}

/** A column of numbers, aligned on the decimal point. */
function numberColumn(cells: readonly Cell[]): Omit<TexColumn, 'title'> {
  const shown = cells.map(shownOf)
  const numbers = shown.map(({ text }) => shownNumber(text))
  const known = numbers.filter((number) => number !== null)
  // Numbers with different units, such as 950k and 1.2 M, have no common decimal point.
  const isAligned = new Set(known.map(({ unit }) => unit)).size === 1
  const decimals = isAligned ? Math.max(...known.map(decimalsOf)) : 0
  return {
    align: 'r',
    cells: shown.map(({ text }, i) => {
      const number = numbers[i]
      return number ? texNumber(number, isAligned ? decimals : decimalsOf(number)) : texWords(text)
    }),
    notes: shown.map(({ note = '' }) => texWords(note)),
  }
}

const decimalsOf = ({ digits }: ShownNumber): number => /\.(\d+)/.exec(digits)?.[1]?.length ?? 0

/** A number in math mode, with as much empty space after it as the missing decimals take. */
function texNumber(number: ShownNumber, decimals: number): string {
  const missing = decimals - decimalsOf(number)
  const point = decimalsOf(number) === 0 && decimals > 0 ? '.' : ''
  const space = missing > 0 ? `\\phantom{${point}${'0'.repeat(missing)}}` : ''
  // Marks stick out, so that the numbers above and below stay aligned.
  const marks = number.marks === '' ? '' : `\\rlap{${texText(number.marks)}}`
  return `${mathNumber(number)}${space}${texUnit(number.unit)}${marks}`
}

function mathNumber({ digits, before }: ShownNumber): string {
  const relation = { '<': '<', '×': '\\times ', '±': '\\pm ' }[before] ?? ''
  const [mantissa = '', exponent] = digits.split('e')
  const power = exponent === undefined ? '' : `\\times 10^{${Number(exponent)}}`
  return `$${relation}${mantissa}${power}$`
}

const texUnit = (unit: string): string => (unit === '' ? '' : `\\,${texText(unit)}`)

/** Small print, or words among numbers. A range becomes an interval, `$[-0.030, -0.010]$`. */
function texWords(text: string): string {
  const range = shownRange(text)
  if (!range) {
    const number = shownNumber(text)
    return number ? texNumber(number, 0) : texText(text)
  }
  const { low, high, unit, before, after } = range
  const end = (number: ShownNumber) =>
    `${mathNumber(number).slice(1, -1)}${unit === '' && number.unit !== '' ? `\\,\\mathrm{${texText(number.unit)}}` : ''}`
  return [before, `$[${end(low)}, ${end(high)}]$${texUnit(unit)}`, after].filter((part) => part !== '').join(' ')
}
