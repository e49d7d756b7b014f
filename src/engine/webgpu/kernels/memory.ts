/**
 * Floats in memory as float32 or as f16. Kernels compute in float32: they convert what they read, and what they write
 * is rounded to the nearest f16.
 */
import type { MemoryType, Operand, Use } from './contract.ts'

/** Size of a number in bytes. */
export const bytesOfNumber = (dtype: MemoryType): number => (dtype === 'float16' ? 2 : 4)

/** A float operand as an array of elements of `type`. */
export interface FloatArray extends Use {
  /** WGSL that converts an element to a value of `type`. */
  readonly read: (element: string) => string
  /** WGSL that converts a value of `type` to an element. */
  readonly stored: (value: string) => string
}

/** How to bind, read and write a float operand. */
export function floatArray(type: 'f32' | 'vec4<f32>', of: Operand): FloatArray {
  if (of.dtype !== 'float16') return { of, as: type, read: (element) => element, stored: (value) => value }
  const as = type === 'f32' ? 'f16' : 'vec4<f16>'
  return { of, as, read: (element) => `${type}(${element})`, stored: (value) => `${as}(${value})` }
}
