/** Text in terminal columns: width, tables, wrapping. */
import { stripVTControlCharacters } from 'node:util'
import type { Colors } from './io.ts'

/** Columns that a text occupies on a terminal, without its colour codes. */
export function widthOf(text: string): number {
  return [...stripVTControlCharacters(text)].length
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

/** The same below dim titles, indented. */
export const titledTable = (
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  align: string,
  { dim }: Colors,
): string[] => indented(table([titles.map((title) => dim(title)), ...rows], align))

export const indented = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`)

/** Breaks a text into lines of at most `width` columns. Keeps existing line breaks; longer words are not split. */
export function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines: string[] = []
    let line = ''
    for (const word of paragraph.split(' ')) {
      if (line !== '' && line.length + 1 + word.length > width) {
        lines.push(line)
        line = word
      } else line = line === '' ? word : `${line} ${word}`
    }
    return [...lines, line]
  })
}
