/** Formatting of estimates, with as many digits as the interval supports. */

import { count, dash, fixed, plural, signed } from '../../../core/text/numbers.ts'
import type { Cell, Exact, TextCell } from '../../report/blocks.ts'
import { MIN_ANYTIME } from '../anytime.ts'
import type { Estimate, Interval, WithIntervals } from '../statistics.ts'

/**
 * Decimals of an estimated loss: two significant figures of half its interval, but at least three and at most
 * four decimals; more only if an end of the interval that is not zero would be printed as zero.
 */
export function digitsOf({ interval }: Pick<Estimate, 'interval'>): number {
  if (interval === null) return 3
  const half = (interval[1] - interval[0]) / 2
  const wanted = half > 0 ? 1 - Math.floor(Math.log10(half)) : 3
  const nearest = Math.min(Math.abs(interval[0]), Math.abs(interval[1]))
  const visible = nearest > 0 ? Math.ceil(-Math.log10(nearest)) : 3
  return Math.min(6, Math.max(3, Math.min(4, wanted), visible))
}

/** Decimals for a column: the most that any estimate needs, so that numbers line up. */
export const digitsOfColumn = (estimates: readonly (Pick<Estimate, 'interval'> | null)[]): number =>
  Math.max(3, ...estimates.flatMap((estimate) => (estimate ? [digitsOf(estimate)] : [])))

/** The mark of an interval that may be looked at any number of times; captions and docs explain it. */
export const anytimeMark = ({ intervals }: WithIntervals): string => (intervals === 'anytime' ? 'anytime ' : '')

/** The text in place of an interval: the number of seeds, if they are too few for one. */
export function withoutInterval({ n, intervals }: WithIntervals & { readonly n: number }): string {
  if (n === 1) return 'one seed'
  return intervals === 'anytime' && n < MIN_ANYTIME ? `only ${plural(n, 'seed')}` : dash
}

/** Explains anytime intervals below a table or a figure that has some. */
export const anytimeNote = (shown: readonly (WithIntervals | null | undefined)[]): string =>
  shown.some((one) => one?.intervals === 'anytime')
    ? ' Anytime: this 95 % interval holds however often one looks while seeds arrive. It is wider than the interval of a fixed number of seeds.'
    : ''

/** An interval as text: `0.010 to 0.032`. */
export function formatRange(interval: Interval, digits: number): string {
  return `${fixed(interval[0], digits)} to ${fixed(interval[1], digits)}`
}

/** An estimate, `−0.021`, with its interval below. @param digits Decimals; default: as many as the estimate needs. */
export function estimateCell(estimate: Estimate | null, digits?: number): TextCell | typeof dash {
  if (estimate === null) return dash
  const { mean, interval } = estimate
  const decimals = digits ?? digitsOf(estimate)
  const note = interval ? `${anytimeMark(estimate)}${formatRange(interval, decimals)}` : withoutInterval(estimate)
  return { text: signed(mean, decimals), note, exact: exactOf(estimate) }
}

/** Decimals of a ratio: two, or up to four to distinguish the ends of its interval from 1 and from each other. */
export function ratioDigits({ interval }: Pick<Estimate, 'interval'>): number {
  if (interval === null) return 2
  const gaps = [Math.abs(interval[0] - 1), Math.abs(interval[1] - 1), interval[1] - interval[0]]
  const smallest = Math.min(...gaps.filter((gap) => gap > 1e-9))
  return Number.isFinite(smallest) ? Math.min(4, Math.max(2, Math.ceil(-Math.log10(smallest)))) : 2
}

/** A ratio, `1.32`, with its interval below unless that is negligible. @param digits Decimals of the column. */
export function ratioCell(estimate: Estimate | null, digits: number): Cell {
  if (estimate === null) return dash
  const { mean, interval } = estimate
  const known = interval !== null && interval[1] / interval[0] > 1.002
  const text = fixed(mean, digits)
  return known
    ? { text, note: `${anytimeMark(estimate)}${formatRange(interval, digits)}`, exact: exactOf(estimate) }
    : { text, exact: { values: [mean] } }
}

/** The numbers of an estimate for programs. */
export const exactOf = ({ mean, interval }: Pick<Estimate, 'mean' | 'interval'>): Exact => ({
  values: [mean],
  ...(interval && { interval }),
})

/** A count in a table, such as 1.39 M. */
export const countCell = (value: number | null | undefined): Cell =>
  value === null || value === undefined ? dash : { text: count(value), exact: { values: [value] } }

/** A p-value in a table. */
export const pCell = (p: number | null | undefined): Cell =>
  p === null || p === undefined ? dash : { text: formatP(p), exact: { values: [p] } }

/** A p-value as text: `0.012`, or `< 0.001`. */
function formatP(p: number | null | undefined): string {
  return p !== null && p !== undefined && p < 0.001 ? '< 0.001' : fixed(p, 3)
}
