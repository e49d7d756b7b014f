/**
 * Reads the numbers that cells show: `−0.021`, `1.39 M`, `12.2 %`, `−0.030 to −0.010`, with marks such as ‡ after them.
 * Text that is not a number, such as the name of an arm, is never read: callers ask only about columns of numbers.
 */

export interface ShownNumber {
  /** Its value in `unit`; counts such as 1.39 M are multiplied out. */
  readonly value: number
  /** The digits as shown, with a sign of ASCII. */
  readonly digits: string
  /** `<` or `×` before the number, or nothing. */
  readonly before: string
  /** The unit as shown: ` %`, ` ms`, `k`, ` M`, or nothing. */
  readonly unit: string
  /** Marks that a caption explains, such as ` ‡ §`, or nothing. */
  readonly marks: string
}

export interface ShownRange {
  readonly low: ShownNumber
  readonly high: ShownNumber
  /** The unit that follows the high end and holds for both. */
  readonly unit: string
  /** Words before and after, such as `with seeds`. */
  readonly before: string
  readonly after: string
}

const scales: Readonly<Record<string, number>> = { k: 3, ' k': 3, ' M': 6, ' B': 9, ' T': 12 }

const digits = String.raw`[+−-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+−-]?\d+)?`
const unit = String.raw`(?:k| [kMBT]\b| %| (?:ns|µs|ms|s)\b)?`
const marks = '(?: ?[°†‡§¶‖*≠])*'
const numberPattern = new RegExp(`^([<×±] ?)?(${digits})(${unit})(${marks})$`, 'u')
const rangePattern = new RegExp(`^([a-z ]*)(${digits}${unit}) to (${digits}${unit})((?: [a-z ]*)?)$`, 'u')

/** The number that a text consists of; null if it is anything else. */
export function shownNumber(text: string): ShownNumber | null {
  const [, before = '', shown, unitText = '', markText = ''] = numberPattern.exec(text.trim()) ?? []
  if (shown === undefined) return null
  const plain = shown.replaceAll('−', '-').replaceAll(',', '')
  const [mantissa = '', exponent = '0'] = plain.split('e')
  // One conversion from decimal, so that 1.39 M is 1390000 and not the next float.
  const value = Number(`${mantissa}e${Number(exponent) + (scales[unitText] ?? 0)}`)
  return { value, digits: plain, before: before.trim(), unit: unitText, marks: markText }
}

/** The range that a text consists of, such as `with seeds −0.030 to −0.010`; null if it is anything else. */
export function shownRange(text: string): ShownRange | null {
  const [, before = '', low = '', high = '', after = ''] = rangePattern.exec(text.trim()) ?? []
  const ends = [shownNumber(low), shownNumber(high)] as const
  if (!ends[0] || !ends[1]) return null
  // In `9.8 to 10.5 ms` the unit holds for both ends.
  const [unitBelow, unitAbove] = [ends[0].unit, ends[1].unit]
  const isShared = unitBelow === '' && unitAbove !== '' && scales[unitAbove] === undefined
  return {
    low: isShared ? { ...ends[0], unit: unitAbove } : ends[0],
    high: ends[1],
    unit: unitBelow === unitAbove || isShared ? unitAbove : '',
    before: before.trim(),
    after: after.trim(),
  }
}

/** The name of a unit in the name of a column; nothing for counts, whose value is multiplied out. */
export const unitName = (unitText: string): string =>
  scales[unitText] === undefined ? unitText.trim().replace('%', 'percent').replace('µs', 'us') : ''
