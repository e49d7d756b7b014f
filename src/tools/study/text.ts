/** Words for matches: the quantity of an arm with its unit, and the difference that remains. */
import { bytes, count, flops, plural, significant } from '../../core/text/numbers.ts'
import type { Match, Prediction, Registration } from './contract.ts'
import type { Quantity } from './specification.ts'

/** A mismatch above this is marked, in percent as it is printed: it may explain a small difference in loss. */
const NOTABLE = 1

/** A mismatch below this is printed as equal, in percent: no study can see its effect. */
const EQUAL = 0.0005

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

/** Whether a mismatch is more than 1 %, with the digits that {@link mismatchText} prints. */
export const isNotable = (match: Pick<Match, 'target' | 'reached'>): boolean =>
  Number(Math.abs(100 * mismatchOf(match)).toPrecision(3)) > NOTABLE

/** A mismatch in percent with three digits, `+0.303 %`, or `equal`. */
export function mismatchText(match: Pick<Match, 'target' | 'reached'>): string {
  const difference = 100 * mismatchOf(match)
  if (Math.abs(difference) < EQUAL) return 'equal'
  return `${difference > 0 ? '+' : ''}${significant(difference)} %`
}

/** The field and its solved value, without the group `model`: `hidden 344`, `moe.hidden 128`. */
export const solvedText = ({ by, value }: Match): string => `${by.replace(/^model\./, '')} ${value}`

/** Words for predictions and their registrations. */

/** A number as it was written, with the sign that tables have. */
const written = (value: number): string => String(value).replace('-', '−')

/** The expected difference: `better`, `better by more than 0.01`, `equal, within 0.02`, `−0.05 to −0.01`. */
export function expectedText({ expect, margin = 0, from, to }: Prediction): string {
  if (expect === undefined) return `${written(from ?? 0)} to ${written(to ?? 0)}`
  if (expect === 'equal') return `equal, within ${written(margin)}`
  return margin > 0 ? `${expect} by more than ${written(margin)}` : expect
}

/** The contrasts of a prediction: `top-2 against top-1`, or `most of 5 contrasts`. */
export function contrastsText({ contrasts, of }: Prediction): string {
  const [first, ...others] = contrasts
  if (first !== undefined && others.length === 0) return `${first[1]} against ${first[0]}`
  return `${of} of ${plural(contrasts.length, 'contrast')}`
}

/** A time in UTC to the second: `2026-11-29 17:32:50 UTC`. */
export const timeText = (at: string): string => at.replace('T', ' ').replace(/\.\d+Z$|Z$/, ' UTC')

/** When predictions were first seen, by the results that there were: `before the first result`, `after 7 results`. */
export const whenText = ({ ended }: Pick<Registration, 'ended'>): string =>
  ended === 0 ? 'before the first result' : `after ${plural(ended, 'result')}`
