/** Formatting of estimates, with as many digits as the interval supports. */

import { dash, fixed, signed } from '../../../core/text/numbers.ts'
import type { Cell, TextCell } from '../../report/blocks.ts'
import type { Estimate, Interval } from '../statistics.ts'

/**
 * Decimals of an estimated loss: two significant figures of half its interval, but three or four decimals,
 * and more only if an end of the interval that is not zero would be printed as zero.
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

/** 0.010 to 0.032. */
export function formatRange(interval: Interval, digits: number): string {
  return `${fixed(interval[0], digits)} to ${fixed(interval[1], digits)}`
}

/** −0.021, with (−0.032 to −0.010) below. @param digits of the column; default: those of the estimate */
export function estimateCell(estimate: Estimate | null, digits?: number): TextCell | typeof dash {
  if (estimate === null) return dash
  const { mean, interval } = estimate
  const decimals = digits ?? digitsOf(estimate)
  return { text: signed(mean, decimals), note: interval ? formatRange(interval, decimals) : 'one seed' }
}

/** Decimals of a ratio: two, or enough to tell the ends of its interval from 1 and from each other, up to four. */
export function ratioDigits({ interval }: Pick<Estimate, 'interval'>): number {
  if (interval === null) return 2
  const gaps = [Math.abs(interval[0] - 1), Math.abs(interval[1] - 1), interval[1] - interval[0]]
  const smallest = Math.min(...gaps.filter((gap) => gap > 1e-9))
  return Number.isFinite(smallest) ? Math.min(4, Math.max(2, Math.ceil(-Math.log10(smallest)))) : 2
}

/** 1.32, with (1.30 to 1.35) below unless the interval is negligible. @param digits of the column */
export function ratioCell(estimate: Estimate | null, digits: number): Cell {
  if (estimate === null) return dash
  const { mean, interval } = estimate
  const known = interval !== null && interval[1] / interval[0] > 1.002
  return known ? { text: fixed(mean, digits), note: formatRange(interval, digits) } : fixed(mean, digits)
}

/** 0.012, < 0.001. */
export function formatP(p: number | null | undefined): string {
  return p !== null && p !== undefined && p < 0.001 ? '< 0.001' : fixed(p, 3)
}
