/** Words for matches: the quantity of an arm with its unit, and the difference that remains. */
import { bytes, count, flops, signed } from '../../core/text/numbers.ts'
import type { Match, Quantity } from './contract.ts'

/** A mismatch above this share is marked: it may explain a small difference in loss. */
const NOTABLE = 0.01

/** A quantity with its value: `active parameters 1.19 M`, `active FLOPs 15.3 MFLOP a token`. */
export function quantityText(quantity: Quantity, value: number): string {
  switch (quantity) {
    case 'activeFlops':
      return `active FLOPs ${flops(value)} a token`
    case 'totalParameters':
      return `total parameters ${count(value)}`
    case 'activeParameters':
      return `active parameters ${count(value)}`
    case 'memory':
      return `memory ${bytes(value)}`
  }
}

/** The quantity of the arm over the quantity of the other arm, minus 1. */
export const mismatchOf = ({ target, reached }: Pick<Match, 'target' | 'reached'>): number => reached / target - 1

export const isNotable = (match: Match): boolean => Math.abs(mismatchOf(match)) > NOTABLE

/** A mismatch in percent, `+0.3 %`, or `equal`. */
export function mismatchText(match: Pick<Match, 'target' | 'reached'>): string {
  const share = mismatchOf(match)
  return share === 0 ? 'equal' : `${signed(100 * share, Math.abs(share) < 0.001 ? 3 : 1)} %`
}

/** The field and its solved value, without the group `model`: `hidden 344`, `moe.hidden 128`. */
export const solvedText = ({ by, value }: Match): string => `${by.replace(/^model\./, '')} ${value}`
