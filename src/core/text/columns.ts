/** Text in terminal columns: width, tables, wrapping. */
import { printable } from './printable.ts'

/** The text without the codes of colours. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the codes begin with a control character
const uncoloured = (text: string): string => text.replace(/\x1b\[[\d;]*m/g, '')

/** Columns that a text occupies on a terminal, without its colour codes. */
export function widthOf(text: string): number {
  return [...uncoloured(text)].length
}

/** Rows in aligned columns, two spaces apart; `align` has one letter per column, `l` or `r`. */
export function table(rows: readonly (readonly string[])[], align: string): string[] {
  const widths: number[] = []
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, widthOf(cell))
    })
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const gap = ' '.repeat((widths[i] ?? 0) - widthOf(cell))
        return align[i] === 'r' ? gap + cell : cell + gap
      })
      .join('  ')
      .trimEnd(),
  )
}

/**
 * An indented table below dim titles. If it is wider than the terminal, a row is its first cell, and below it the other
 * cells with their titles, as many on a line as fit; so no line of a terminal ends within a cell.
 * @param columns columns of the terminal
 */
export function titledTable(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  align: string,
  { dim }: { dim(text: string): string },
  columns = Infinity,
): string[] {
  const lines = indented(table([titles.map((title) => dim(title)), ...rows], align))
  if (lines.every((line) => widthOf(line) <= columns)) return lines
  return rows.flatMap(([first = '', ...cells]) => [
    ...wrap(first, columns - 4).map((line, i) => (i === 0 ? `  ${line}` : `    ${line}`)),
    ...inLines(
      cells.flatMap((cell, i) => (cell === '' ? [] : [titles[i + 1] ? `${dim(titles[i + 1] ?? '')} ${cell}` : cell])),
      columns - 4,
    ).map((line) => `    ${line}`),
  ])
}

/** Puts parts on lines of at most `width` columns, two spaces apart. A part that is wider is broken at spaces. */
function inLines(parts: readonly string[], width: number): string[] {
  const lines: string[] = []
  for (const part of parts) {
    const last = lines.at(-1)
    if (last !== undefined && widthOf(last) + 2 + widthOf(part) <= width) lines[lines.length - 1] = `${last}  ${part}`
    else lines.push(...wrap(part, width))
  }
  return lines
}

export const indented = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`)

/**
 * Breaks a text into lines of at most `width` columns. Keeps existing line breaks; longer words are not split, and a number
 * keeps its percent sign.
 */
export function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines: string[] = []
    let line = ''
    for (const word of paragraph.split(/ (?!%)/)) {
      if (line !== '' && widthOf(line) + 1 + widthOf(word) > width) {
        lines.push(line)
        line = word
      } else line = line === '' ? word : `${line} ${word}`
    }
    return [...lines, line]
  })
}

/**
 * Breaks lines that are wider than the terminal at spaces. Parts that are three or more spaces apart stay whole if they
 * fit on a line. The further lines of a line `label  value` begin below the value, and the further lines of other lines
 * two columns after the beginning of the first. Control characters are shown, not obeyed.
 */
export const fitted = (text: string, columns: number): string =>
  printable(text)
    .split('\n')
    .map((line) => (widthOf(line) <= columns ? line : fittedLine(line, columns)))
    .join('\n')

function fittedLine(line: string, columns: number): string {
  const plain = uncoloured(line)
  const indent = plain.search(/\S/)
  // A line without a label continues a line with a label, and begins at its value.
  const values = (/^ *\S+(?: \S+){0,3} {2,}(?=\S)/.exec(plain) ?? /^ {6,}(?=\S)/.exec(plain))?.[0].length
  const further = ' '.repeat(values !== undefined && values <= columns / 2 ? values : indent + 2)
  const lines: string[] = []
  let current = ''
  const place = (text: string, gap: string): void => {
    if (current !== '' && widthOf(current) + gap.length + widthOf(text) > columns) {
      lines.push(current.trimEnd())
      current = further + text
    } else current += gap + text
  }
  const [first = '', ...more] = line.trimStart().split(/( {3,})/)
  for (const [gap, part] of [[' '.repeat(indent), first], ...pairs(more)] as const) {
    const room = columns - (current === '' ? indent : further.length)
    const [head = '', ...words] = widthOf(part) <= room ? [part] : part.split(' ')
    place(head, gap)
    for (const word of words) place(word, ' ')
  }
  return [...lines, current].join('\n')
}

const pairs = (items: readonly string[]): [string, string][] =>
  items.flatMap((item, i) => (i % 2 === 0 ? [[item, items[i + 1] ?? '']] : []))
