/**
 * Totals of the rows of a bar figure, for the picture and for its table.
 *
 * Values that are negative, not finite or missing have no length and are not drawn. The total of their row shows that
 * they are missing: "12.0 + ?".
 */

import { sameDecimals, valueLabel } from '../../../core/text/number-labels.ts'
import type { BarFigure } from '../blocks.ts'
import { usable } from './scale.ts'

type Row = BarFigure['rows'][number]

export interface Total {
  readonly row: Row
  /** Sum of the drawn values. */
  readonly sum: number
  /** Number of values that are not drawn. */
  readonly leftOut: number
  /** Excess over the limit; undefined if there is none. */
  readonly over: number | undefined
  /** The total as text. */
  readonly label: string
}

/** Relative rounding error of a sum of parts. */
const ROUNDING = 1e-9

/** Whether a value can be drawn, even if all parts of its row are as large. */
export const isPart = ({ parts }: BarFigure, value: number | undefined): value is number =>
  value !== undefined && value >= 0 && usable('linear', value * parts.length)

export const validLimit = (figure: BarFigure): BarFigure['limit'] =>
  figure.limit && isPart(figure, figure.limit.value) ? figure.limit : undefined

/** One total per row. */
export function totalsOf(figure: BarFigure): Total[] {
  const limit = validLimit(figure)?.value
  const sums = figure.rows.map((row) => sumOf(figure, row))
  const format = formatter(Math.max(0, ...sums.map(({ sum }) => sum)))
  return sums.map(({ row, sum, found, leftOut }) => {
    const over = limit !== undefined && sum > limit * (1 + ROUNDING) ? sum - limit : undefined
    const label = `${format(sum)}${leftOut > 0 ? ' + ?' : ''}${over === undefined ? '' : `, over by ${format(over)}`}`
    return { row, sum, leftOut, over, label: found === 0 && leftOut > 0 ? 'no data yet' : label }
  })
}

function sumOf(figure: BarFigure, row: Row): { row: Row; sum: number; found: number; leftOut: number } {
  const found = figure.parts.map((_, i) => row.values[i]).filter((value) => isPart(figure, value))
  const expected = Math.max(figure.parts.length, row.values.length)
  return { row, sum: found.reduce((a, b) => a + b, 0), found: found.length, leftOut: expected - found.length }
}

/** Formats all totals with the decimals of the largest total. A total that would be shown as zero has more decimals. */
function formatter(largest: number): (value: number) => string {
  const even = sameDecimals(largest / 100)
  return (value) => (value === 0 || !/[1-9]/.test(even(value)) ? valueLabel(value) : even(value))
}
