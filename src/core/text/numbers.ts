/**
 * Formats numbers for terminals, pages and reports: three significant digits, a unit, a true minus sign, and a dash
 * for a missing value.
 */

/** The dash in place of a missing or non-finite number. */
export const dash = '–'

type Maybe = number | null | undefined

const isNumber = (value: Maybe): value is number => typeof value === 'number' && Number.isFinite(value)

/** Units of counts: thousands, millions, billions (10⁹), trillions (10¹²). */
export const countUnits = ['', 'k', ' M', ' B', ' T'] as const

/** A count: 950, 12.3k, 4.12 M, 1.38 B, 2.10e+15. */
export const count = (value: Maybe): string => scaled(value, countUnits)

/** A {@link count} without trailing zeros, for narrow columns: 12k, 1.5 M. */
export const compact = (value: Maybe): string =>
  scaled(value, countUnits).replace(/^([^.e]*)\.(\d*?)0*(?=$|\D)/, (_, whole, digits) =>
    digits ? `${whole}.${digits}` : whole,
  )

/** A size in bytes: 12 B, 4.10 kB, 134 MB, 5.54 GB (powers of 1000). */
export const bytes = (value: Maybe): string => scaled(value, [' B', ' kB', ' MB', ' GB', ' TB'])

/** A number of floating-point operations: 15.3 MFLOP, 2.10 GFLOP. */
export const flops = (value: Maybe): string =>
  scaled(value, [' FLOP', ' kFLOP', ' MFLOP', ' GFLOP', ' TFLOP', ' PFLOP'])

function scaled(value: Maybe, units: readonly string[]): string {
  if (!isNumber(value)) return dash
  const sign = value < 0 ? '−' : ''
  let size = Number(Math.abs(value).toPrecision(3))
  let unit = 0
  for (; size >= 1000 && unit < units.length - 1; unit++) size = Number((size / 1000).toPrecision(3))
  const text =
    size >= 1000
      ? Math.abs(value).toExponential(2) + units[0]
      : `${unit === 0 ? size : significant(size)}${units[unit]}`
  return sign + text
}

/** Three significant digits without an exponent: 1.32, 13.2, 132. */
export function significant(value: number): string {
  const size = Math.abs(value)
  return fixed(value, size === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(size))))
}

/** A number with so many decimals: 0.021, −0.021. */
export function fixed(value: Maybe, digits: number): string {
  if (!isNumber(value)) return dash
  const text = Math.abs(value).toFixed(digits)
  return value < 0 && Number(text) !== 0 ? `−${text}` : text
}

/**
 * Values side by side, such as `0.42 0.61 1.00` for layers; only the first three and the last three if there are more
 * than six. A dash if no value is known.
 */
export function listed(values: readonly Maybe[]): string {
  if (!values.some(isNumber)) return dash
  const texts = values.map((value) => fixed(value, 2))
  return (texts.length > 6 ? [...texts.slice(0, 3), '…', ...texts.slice(-3)] : texts).join(' ')
}

/** A number with its sign: +0.021, −0.021, 0.000. */
export function signed(value: Maybe, digits: number): string {
  const text = fixed(value, digits)
  return isNumber(value) && value > 0 && Number(text) !== 0 ? `+${text}` : text
}

/** A share in percent: 0.031 → 3.1 %. */
export const percent = (share: Maybe, digits = 1): string =>
  isNumber(share) ? `${fixed(100 * share, digits)} %` : dash

/** An integer with its digits in groups of three: 1,500. */
export const grouped = (value: number): string => value.toLocaleString('en-US')

/** A duration: 0.4s, 42s, 3m 02s, 1h 05m, 2d 03h. */
export function duration(seconds: Maybe): string {
  if (!isNumber(seconds) || seconds < 0) return dash
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`
  const whole = Math.round(seconds)
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0')
  if (whole < 60) return `${whole}s`
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h ${two((whole % 3600) / 60)}m`
  return `${Math.floor(whole / 86_400)}d ${two((whole % 86_400) / 3600)}h`
}

/** A short time: 850 µs, 12.3 ms, 1.80 s; a {@link duration} from 100 seconds on. */
export function shortTime(seconds: number): string {
  if (seconds >= 100) return duration(seconds)
  if (seconds >= 1) return `${seconds.toPrecision(3)} s`
  if (seconds >= 1e-3) return `${(seconds * 1e3).toPrecision(3)} ms`
  return `${(seconds * 1e6).toPrecision(3)} µs`
}

/** A number of things: 1 seed, 1,500 seeds. */
export const plural = (n: number, one: string, many = `${one}s`): string => `${grouped(n)} ${n === 1 ? one : many}`

/** Words in a list: a; a and b; a, b and c. */
export const joinWords = (words: readonly string[], conjunction: 'and' | 'or' = 'and'): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} ${conjunction} ${words.at(-1)}`
