/** Cells of a table with an interval: their axis, and the interval drawn with characters for Markdown. */
import type { Cell, IntervalCell } from './blocks.ts'

export const isInterval = (cell: Cell): cell is IntervalCell => typeof cell === 'object' && 'reach' in cell

/** Whether the interval can be drawn. Its ends may be infinite. */
export const isDrawable = ({ mean, low, high }: IntervalCell): boolean =>
  Number.isFinite(mean) && low <= mean && mean <= high

/** Whether the mean is outside the axis, which would be too long for the other rows. */
export const isBeyond = ({ mean, reach }: IntervalCell): boolean => reach > 0 && Math.abs(mean) > reach

/** Position of a value on the axis of a cell, from 0 (left end) to 1, clamped. */
export function axisFraction(value: number, reach: number): number {
  if (!(reach > 0)) return 0.5
  return Math.min(1, Math.max(0, 0.5 + value / reach / 2))
}

/** Number of characters of a drawn interval. It is odd, so that zero has a character. */
const COLUMNS = 21

/**
 * An interval in monospaced characters, such as `├──●──┤   │`, with a bar at zero. An end beyond the axis is an arrow, and
 * a mean beyond it a dot at the end after `//`.
 */
export function intervalText(cell: IntervalCell): string {
  const { mean, low, high, reach } = cell
  const at = (value: number) => Math.round(axisFraction(value, reach) * (COLUMNS - 1))
  const characters: string[] = Array.from({ length: COLUMNS }, (_, i) => (i >= at(low) && i <= at(high) ? '─' : ' '))
  characters[(COLUMNS - 1) / 2] = characters[(COLUMNS - 1) / 2] === '─' ? '┼' : '│'
  characters[at(low)] = low < -reach ? '←' : '├'
  characters[at(high)] = high > reach ? '→' : '┤'
  characters[at(mean)] = '●'
  if (isBeyond(cell)) characters.splice(mean > 0 ? COLUMNS - 3 : 0, 3, ...(mean > 0 ? '//●' : '●//'))
  return characters.join('')
}
