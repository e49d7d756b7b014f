/** Numbers as people read them on the page: few digits, a unit, and a dash where there is none. */

export const none = '–'
const units = ['', 'k', 'M', 'B', 'T']

/** 950, 12.3k, 4.1M, 1.38B; from 10^15 on with an exponent. */
export function compact(value: number): string {
  if (!Number.isFinite(value)) return none
  const size = Math.abs(value)
  if (size >= 1e15) return value.toExponential(2).replace(/\.?0+e\+?/, 'e')
  if (size < 1000) return value === 0 || size >= 0.01 ? String(Number(value.toPrecision(3))) : exponent(value)
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(Number(size.toPrecision(3))) / 3))
  return `${Number((value / 1000 ** unit).toPrecision(3))}${units[unit]}`
}

/** A measured value with the digits that make neighbours differ: 3.4127, 0.00030, 1.2e-7, 15,210. */
export function measured(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return none
  const size = Math.abs(value)
  if (size >= 1e7) return compact(value)
  if (size >= 1000) return Math.round(value).toLocaleString('en-US')
  if (size >= 100) return value.toFixed(1)
  if (size >= 0.01 || value === 0) return Number.isInteger(value) ? String(value) : value.toFixed(4)
  return exponent(value)
}

const exponent = (value: number) => value.toExponential(2).replace(/\.?0+e/, 'e')

/** 1,500. */
export const grouped = (value: number): string => value.toLocaleString('en-US')

/** 42 s, 3 min, 1 h 5 min, 2 d 3 h. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return none
  const two = (large: number, largeUnit: string, small: number, smallUnit: string) =>
    small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`
  const minutes = Math.round(seconds / 60)
  if (Math.abs(seconds) < 59.5) return `${Number(seconds.toPrecision(2))} s`
  if (minutes < 60) return `${minutes} min`
  const hours = Math.round(minutes / 60)
  if (minutes < 24 * 60) return two(Math.floor(minutes / 60), 'h', minutes % 60, 'min')
  return two(Math.floor(hours / 24), 'd', hours % 24, 'h')
}

/** 512 kB, 4.1 MB (powers of 1000). */
export function bytes(value: number): string {
  const scale = ['B', 'kB', 'MB', 'GB', 'TB']
  const unit = value < 1000 ? 0 : Math.min(scale.length - 1, Math.floor(Math.log10(value) / 3))
  return `${Number((value / 1000 ** unit).toPrecision(3))} ${scale[unit]}`
}
