/** Numbers and types of WGSL. */
import type { DType } from '../../../core/graph/model.ts'
import type { ConstantData, Tensor } from '../../../core/graph/tensor.ts'

/** Type of a value in a function; bool is stored as i32. */
export const valueType: Readonly<Record<DType, string>> = {
  float32: 'f32',
  float64: 'f32',
  int32: 'i32',
  int64: 'i32',
  bool: 'bool',
}

/**
 * A number in WGSL. Infinities have no literal: they become the largest float, which serves every purpose of infinities
 * in programs.
 */
export function literal(value: number | bigint | boolean, dtype: DType): string {
  if (dtype === 'bool') return value ? 'true' : 'false'
  if (dtype !== 'float32' && dtype !== 'float64') return `${Number(value)}`
  const rounded = Math.fround(Math.min(MAX_FLOAT, Math.max(-MAX_FLOAT, Number(value))))
  const text = `${rounded}`
  return /[.e]/.test(text) ? text : `${text}.0`
}

const MAX_FLOAT = 3.4028234663852886e38

/** A constant that needs no memory: all elements are equal, or they count up from the first. */
export type Pattern = { readonly all: number } | { readonly first: number; readonly step: number }

export function patternOf(data: ConstantData): Pattern | null {
  const first = Number(data[0] ?? 0)
  const step = data.length > 1 ? Number(data[1]) - first : 0
  // Fractions do not count up exactly, because sums of floats are rounded.
  if (step !== 0 && !(Number.isInteger(step) && Number.isInteger(first))) return null
  for (let i = 0; i < data.length; i++) if (Number(data[i]) !== first + i * step) return null
  return step === 0 ? { all: first } : { first, step }
}

/** The number that all elements of a constant are; null if they differ, or the source is not a constant. */
export function uniform(source: Tensor['source']): number | null {
  const pattern = source.kind === 'constant' ? patternOf(source.data) : null
  return pattern && 'all' in pattern ? pattern.all : null
}

export function numbersOf(data: ConstantData): number[] {
  const numbers: number[] = []
  for (let i = 0; i < data.length; i++) numbers.push(Number(data[i]))
  return numbers
}
