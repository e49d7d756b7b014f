import { compact, dash, grouped } from '../../src/core/text/numbers.ts'

/** Formats a measured value with enough digits to tell neighbours apart: 3.4127, 3e-4, 1.2e-7, 15,210. */
export function formatValue(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return dash
  const size = Math.abs(value)
  if (size >= 1e7) return compact(value)
  if (size >= 1000) return grouped(Math.round(value))
  if (size >= 100) return value.toFixed(1)
  if (size >= 0.01 || value === 0) return Number.isInteger(value) ? String(value) : value.toFixed(4)
  return value.toExponential(2).replace(/\.?0+e/, 'e')
}
