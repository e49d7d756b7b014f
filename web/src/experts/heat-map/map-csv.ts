/** The loads of a heat map as CSV: a line for each expert that is shown, with its row and column. */
import { csvText } from '../../curves/series/csv.ts'
import type { Frame } from './frame.ts'

/** What a file says about the cells of a map. */
export interface MapFile {
  /** The beginning of the name of the file, and the title of the picture. */
  readonly name: string
  /** What rows are, such as `layer`, and columns. */
  readonly sides: readonly [rows: string, columns: string]
  /** The row and the column of a cell in words or numbers, for the table. */
  readonly placeOf: (row: number, column: number) => readonly [row: string | number, column: string | number]
}

export function mapCsv(
  { rows, columns, values }: Frame,
  { sides, placeOf }: Pick<MapFile, 'sides' | 'placeOf'>,
): string {
  const lines: (string | number)[][] = [[...sides, 'tokens over mean']]
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const value = values[row * columns + column] ?? Number.NaN
      if (!Number.isNaN(value)) lines.push([...placeOf(row, column), value])
    }
  return csvText(lines)
}
