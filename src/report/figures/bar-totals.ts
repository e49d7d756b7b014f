/**
 * What the rows of a figure of bars amount to, for the picture and for its table.
 *
 * A length can be no number but one from zero up. A value that is negative, not finite, or missing is drawn as
 * nothing, and what is left of its row is said to be so: "12.0 + ?".
 */
import type { BarFigure } from '../blocks.ts'
import { evenly, valueLabel } from './numerals.ts'
import { usable } from './scale.ts'

type Row = BarFigure['rows'][number]

export interface Total {
  readonly row: Row
  /** Sum of the values that have a place. */
  readonly sum: number
  /** Of those that a row should have. */
  readonly leftOut: number
  /** By which it exceeds the limit; undefined if it does not. */
  readonly over: number | undefined
  readonly words: string
}

/** A sum of parts may be a little over for no reason but rounding. */
const ROUNDING = 1e-9

/** Whether a value can be a part; all parts of a row together must be a length too. */
export const isPart = ({ parts }: BarFigure, value: number | undefined): value is number =>
  value !== undefined && value >= 0 && usable('linear', value * parts.length)

export const limitOf = (figure: BarFigure): BarFigure['limit'] =>
  figure.limit && isPart(figure, figure.limit.value) ? figure.limit : undefined

/** One a row. */
export function totalsOf(figure: BarFigure): Total[] {
  const limit = limitOf(figure)?.value
  const sums = figure.rows.map((row) => sumOf(figure, row))
  const write = writer(Math.max(0, ...sums.map(({ sum }) => sum)))
  return sums.map(({ row, sum, found, leftOut }) => {
    const over = limit !== undefined && sum > limit * (1 + ROUNDING) ? sum - limit : undefined
    const words = `${write(sum)}${leftOut > 0 ? ' + ?' : ''}${over === undefined ? '' : `, over by ${write(over)}`}`
    return { row, sum, leftOut, over, words: found === 0 && leftOut > 0 ? 'no data yet' : words }
  })
}

function sumOf(figure: BarFigure, row: Row): { row: Row; sum: number; found: number; leftOut: number } {
  const found = figure.parts.map((_, i) => row.values[i]).filter((value) => isPart(figure, value))
  const wanted = Math.max(figure.parts.length, row.values.length)
  return { row, sum: found.reduce((a, b) => a + b, 0), found: found.length, leftOut: wanted - found.length }
}

/** All with as many decimals as the greatest asks for, but nothing like a zero for what is none. */
function writer(greatest: number): (value: number) => string {
  const even = evenly(greatest / 100)
  return (value) => (value === 0 || !/[1-9]/.test(even(value)) ? valueLabel(value) : even(value))
}
