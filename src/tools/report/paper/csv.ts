/**
 * A table as CSV (RFC 4180) for programs. Numbers have a dot and an ASCII minus, without units; an interval has a column
 * for each end; a missing number is an empty field. A column of the table becomes several if its cells hold several
 * things: `difference`, `difference_low`, `difference_high`, `difference_marks`.
 */
import { columnNames } from '../../../core/text/column-names.ts'
import { sanitize } from '../../../core/text/escape.ts'
import { dash } from '../../../core/text/numbers.ts'
import type { Cell, Exact, Table } from '../blocks.ts'
import { isInterval } from '../interval-cells.ts'
import { type ShownRange, shownNumber, shownRange, unitName } from './shown-numbers.ts'

type Value = number | string

/** What a cell holds, by the words that follow the title of its column in a name. */
type Parts = ReadonlyMap<string, Value>

export function csvOf(table: Table): string {
  const columns = table.columns.flatMap(({ title, align }, i) => {
    const cells = table.rows.map((row) => row[i] ?? '')
    if (isDrawn(cells)) return []
    const parts = cells.map((cell) => partsOf(cell, align === 'left'))
    // A name begins with a letter: `95 % interval` is `interval_95_percent`.
    const name = title.replace(/^(\d+ %) (.+)$/, '$2 $1')
    const suffixes = suffixesOf(parts)
    // If a column has words only, they need no name of their own.
    const isWords = suffixes.every((suffix) => !numeric.test(suffix))
    return suffixes.map((suffix) => ({
      title: suffix === '' || (suffix === 'text' && isWords) ? name : `${name} ${suffix}`,
      values: parts.map((one) => one.get(suffix) ?? ''),
    }))
  })
  const lines = [
    columnNames(columns.map(({ title }) => title)),
    ...table.rows.map((_, row) => columns.map(({ values }) => values[row] ?? '')),
  ]
  return lines.map((line) => `${line.map(field).join(',')}\r\n`).join('')
}

/** Whether a column only draws intervals, whose numbers other columns have. */
export const isDrawn = (cells: readonly Cell[]): boolean =>
  cells.some(isInterval) && cells.every((cell) => isInterval(cell) || cell === dash)

const field = (value: Value): string => {
  const text = String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** The suffixes of a column, in the order in which cells have them; a column without any value keeps its name. */
function suffixesOf(parts: readonly Parts[]): string[] {
  const found = [...new Set(parts.flatMap((one) => [...one.keys()]))]
  const place = (suffix: string) => order.findIndex((pattern) => pattern.test(suffix))
  return found.length === 0 ? [''] : found.toSorted((a, b) => place(a) - place(b))
}

/** Suffixes of numbers. Every other suffix is of words. */
const numeric = /^(?!marks$|text$|note$)/

/** Numbers first, then words about them. */
const order = [/^$/, /^\d+$/, /^low$/, /^high$/, numeric, /^marks$/, /^text$/, /^note$/]

function partsOf(cell: Cell, isText: boolean): Parts {
  if (isInterval(cell)) return new Map([['', cell.mean] as const, ...endsOf('', [cell.low, cell.high])])
  const { text, note, exact } = typeof cell === 'string' ? { text: cell } : cell
  return new Map<string, Value>([
    ...(exact ? exactParts(exact, text) : isText ? wordParts('', text) : numberParts(text)),
    ...(note === undefined || (exact?.interval && exact.values.length > 0) ? [] : noteParts(note, isText)),
  ])
}

type Part = readonly [suffix: string, value: Value]

function exactParts({ values, interval }: Exact, text: string): Part[] {
  const several = values.length > 1
  const known = values.flatMap((value, i): Part[] => (value === null ? [] : [[several ? String(i + 1) : '', value]]))
  const marks = marksOf(text)
  return [
    ...known,
    ...(interval ? endsOf('', interval) : []),
    ...(marks === '' ? [] : [['marks', marks] as const]),
    ...(values.length > 0 && known.length === 0 ? wordParts('text', text) : []),
  ]
}

/** The marks after a number, such as `‡ §`. */
function marksOf(text: string): string {
  const [, ...words] = text.split(' ')
  return words.slice(words.findLastIndex((word) => !/^[°†‡§¶‖*≠]$/.test(word)) + 1).join(' ')
}

/** An end that is infinite or unknown is left out. */
const endsOf = (suffix: string, [low, high]: readonly [number | null, number | null]): Part[] =>
  [['low', low] as const, ['high', high] as const].flatMap(([end, value]): Part[] =>
    value === null || !Number.isFinite(value) ? [] : [[`${suffix} ${end}`.trim(), value]],
  )

/** What a text in a column of numbers holds: a number, a range, several numbers, or words. */
function numberParts(text: string): Part[] {
  const number = shownNumber(text)
  // `< 0.001` is no number; the words keep its meaning.
  if (number && number.before !== '<')
    return [
      [unitName(number.unit), number.value],
      ...(number.marks === '' ? [] : [['marks', number.marks.trim()] as const]),
    ]
  const range = shownRange(text)
  return range ? rangeParts(range) : wordParts('text', text)
}

function noteParts(note: string, isText: boolean): Part[] {
  if (isText) return wordParts('note', note)
  const range = shownRange(note)
  if (range) return rangeParts(range)
  const [, shown = '', words = ''] = /^(.*?\d(?: ?%)?)((?: [a-z]+){0,3})$/u.exec(note) ?? []
  const number = shownNumber(shown)
  if (number === null || number.before === '<') return wordParts('note', note)
  const name = number.before === '±' ? 'plus minus' : words.trim() || 'note'
  return [[`${name} ${unitName(number.unit)}`.trim(), number.value]]
}

const rangeParts = ({ low, high, unit, before, after }: ShownRange): Part[] =>
  endsOf(`${before} ${after} ${unitName(unit)}`.replace(/ +/g, ' ').trim(), [low.value, high.value])

const wordParts = (suffix: string, text: string): Part[] =>
  text === '' || text.startsWith(dash) ? [] : [[suffix, sanitize(text).replace(/\s+/g, ' ').trim()]]
