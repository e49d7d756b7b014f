/** Words for predictions and their registrations. */
import { plural } from '../../../core/text/numbers.ts'
import type { Prediction, Registration } from './predictions.ts'

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
