/** Formats numbers for figures: short on an axis, with equal decimals in a group, with a typographic minus. */
const units = [
  { from: 1e12, factor: 1e12, unit: ' T' },
  { from: 1e9, factor: 1e9, unit: ' B' },
  { from: 1e6, factor: 1e6, unit: ' M' },
  { from: 1e4, factor: 1e3, unit: ' k' },
  { from: 0, factor: 1, unit: '' },
] as const

/**
 * The label of a tick, such as 20 k, 1.5 M, 0.25 or 2×10⁻⁶.
 *
 * @param step distance between ticks; determines the digits
 * @param size largest tick of the axis; determines the common unit
 */
export function tickLabel(value: number, step: number, size = Math.abs(value)): string {
  if (Math.abs(value) < step / 1e6) return '0'
  const found = units.find(({ from }) => size >= from)
  if (size < 1e-3 || size >= 1e15 || !found) return powerLabel(value, step)
  return `${decimal(value / found.factor, step / found.factor)}${found.unit}`
}

function powerLabel(value: number, step: number): string {
  const exponent = Math.floor(Math.log10(Math.abs(value)) + 1e-12)
  const mantissa = decimal(value / 10 ** exponent, step / 10 ** exponent)
  const power = `10${[...String(exponent)].map((digit) => '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'['-0123456789'.indexOf(digit)]).join('')}`
  return mantissa === '1' ? power : `${mantissa}×${power}`
}

function decimal(value: number, step: number): string {
  const digits = Math.min(12, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)))
  return withMinus(value.toFixed(digits))
}

/** Replaces the hyphen by a minus, which is as wide as a digit. */
const withMinus = (text: string): string => text.replace('-', '−')

/** A value in a label: small integers in full, other numbers with three significant digits and their trailing zeros. */
export function valueLabel(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size < 1e4 && Number.isInteger(value)) return withMinus(String(value + 0))
  // Numbers this close to zero do not have three digits.
  if (size < 1e-300) return '0'
  if (size >= 1e4 || size < 1e-4) {
    const rounded = Number(value.toPrecision(3))
    return tickLabel(rounded, 10 ** (Math.floor(Math.log10(Math.abs(rounded))) - 2))
  }
  return withMinus(value.toPrecision(size >= 1000 ? 4 : 3))
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
  return (value) => {
    if (!Number.isFinite(value)) return '–'
    const text = Math.abs(value) >= 1e4 ? valueLabel(value) : withMinus(value.toFixed(digits))
    return /[1-9]/.test(text) ? text : text.replace('−', '')
  }
}
