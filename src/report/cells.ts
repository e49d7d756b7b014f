/** Cells of tables as text: for Markdown, and for those who cannot see a drawing. */
import type { Cell, IntervalCell } from './blocks.ts'

export const isInterval = (cell: Cell): cell is IntervalCell => typeof cell === 'object' && 'reach' in cell

/** Whether there is an interval to draw: numbers, whose ends may be infinite. */
export const isDrawable = ({ mean, low, high }: IntervalCell): boolean =>
  Number.isFinite(mean) && low <= mean && mean <= high

/** Where something lies on the axis of a cell, from 0 (left end) to 1; beyond an end: that end. */
export function placeOf(value: number, reach: number): number {
  if (!(reach > 0)) return 0.5
  return Math.min(1, Math.max(0, 0.5 + value / reach / 2))
}

/** Columns of an interval drawn in letters; an odd number, so that zero has one of its own. */
const LETTERS = 21

/**
 * `├──●──┤   │`: an interval in letters of one width, zero as a bar; an end beyond the axis is an arrow.
 */
export function lettersOf({ mean, low, high, reach }: IntervalCell): string {
  const at = (value: number) => Math.round(placeOf(value, reach) * (LETTERS - 1))
  const letters: string[] = Array.from({ length: LETTERS }, (_, i) => (i >= at(low) && i <= at(high) ? '─' : ' '))
  letters[(LETTERS - 1) / 2] = letters[(LETTERS - 1) / 2] === '─' ? '┼' : '│'
  letters[at(low)] = low < -reach ? '←' : '├'
  letters[at(high)] = high > reach ? '→' : '┤'
  letters[at(mean)] = '●'
  return letters.join('')
}
