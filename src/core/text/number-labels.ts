/**
 * Numbers in charts and beside them, on pages and in reports: ticks of an axis, measured values, and groups of values.
 * Thousands have separators, large numbers a unit, and very small numbers a power of ten.
 */
import { countUnits, dash, fixed } from './numbers.ts'

/**
 * The label of a tick, such as 2,000, 20k, 1.5 M, 0.25 or 2×10⁻⁶.
 *
 * @param step distance between ticks; determines the digits
 * @param size largest tick of the axis; determines the common unit
 */
export function tickLabel(value: number, step: number, size = Math.abs(value)): string {
  if (Math.abs(value) < step / 1e6) return '0'
  if (size < 1e-3 || size >= 1e15) return powerLabel(value, decimalsFor(step / 10 ** exponentOf(value)))
  // Four digits are as short without a unit.
  const thousands = size < 1e4 ? 0 : Math.floor(Math.log10(size) / 3 + 1e-12)
  const factor = 1000 ** thousands
  return `${decimal(value / factor, decimalsFor(step / factor))}${countUnits[thousands]}`
}

/**
 * A measured value: 3.41, 1,234, 4.12 M, 0.0312, 1.5×10⁻⁶; a dash if it is missing or not finite. Zeros at the end stay,
 * so that values below each other keep their places, but not below 0.01: such numbers are mostly settings.
 *
 * @param digits significant digits. Numbers up to one digit longer, and integers up to two digits longer, are written in
 * full.
 */
export function valueLabel(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return dash
  const size = Math.abs(value)
  // Numbers this close to zero do not have their digits.
  if (size < 1e-300) return '0'
  if (Number.isInteger(value) && size < 10 ** (digits + 2)) return decimal(value, 0)
  const rounded = Number(value.toPrecision(digits))
  if (size < 1e-4) return powerLabel(rounded, digits - 1, true)
  const exponent = exponentOf(rounded)
  if (size >= 10 ** (digits + 1)) return tickLabel(rounded, 10 ** (exponent - digits + 1))
  const text = decimal(value, Math.max(0, digits - 1 - exponent))
  return size < 0.01 ? withoutZeros(text) : text
}

/**
 * Formats a group of numbers with the same number of decimals.
 *
 * @param finest quantity that needs about two digits, such as a half width
 */
export function sameDecimals(finest: number): (value: number) => string {
  const size = Math.abs(finest)
  if (!(size >= 1e-6 && size < 1e4)) return valueLabel
  const digits = Math.max(0, Math.ceil(-Math.log10(size / 2)))
  return (value) => (Math.abs(value) < 1e4 ? decimal(value, digits) : valueLabel(value))
}

/** Exponent of the largest power of ten that is at most the size of a value. */
const exponentOf = (value: number): number => Math.floor(Math.log10(Math.abs(value)) + 1e-12)

const decimalsFor = (step: number): number => Math.min(12, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)))

function powerLabel(value: number, decimals: number, short = false): string {
  const exponent = exponentOf(value)
  const digits = decimal(value / 10 ** exponent, decimals)
  const mantissa = short ? withoutZeros(digits) : digits
  const text = `10${[...String(exponent)].map((digit) => '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'['-0123456789'.indexOf(digit)]).join('')}`
  return mantissa === '1' ? text : `${mantissa}×${text}`
}

/** A number with so many decimals, a true minus sign, and commas between its thousands. */
function decimal(value: number, decimals: number): string {
  const [whole = '', ...fraction] = fixed(value, decimals).split('.')
  const digits = whole.replace('−', '')
  const groups: string[] = []
  for (let end = digits.length; end > 0; end -= 3) groups.unshift(digits.slice(Math.max(0, end - 3), end))
  return [(whole.startsWith('−') ? '−' : '') + groups.join(','), ...fraction].join('.')
}

function withoutZeros(text: string): string {
  if (!text.includes('.')) return text
  let end = text.length
  while (text[end - 1] === '0') end--
  return text.slice(0, text[end - 1] === '.' ? end - 1 : end)
}
