/**
 * Floats in memory as float32 or as f16. Kernels compute in float32: they convert what they read, and what they write
 * is rounded to the nearest f16.
 */
import type { ElementType, MemoryType, Operand } from '../contract.ts'

/** Bytes of a number. */
export const bytesOfNumber = (dtype: MemoryType): number => (dtype === 'float16' ? 2 : 4)

/** An array of floats in memory, seen as elements of `type`. */
export interface FloatArray {
  /** As which it is bound. */
  readonly as: ElementType
  /** WGSL: an element as a value of `type`. */
  readonly read: (element: string) => string
  /** WGSL: a value of `type` as an element. */
  readonly stored: (value: string) => string
}

/** How to bind, read and write a float operand. */
export function floatArray(type: 'f32' | 'vec4<f32>', { dtype }: Pick<Operand, 'dtype'>): FloatArray {
  if (dtype !== 'float16') return { as: type, read: (element) => element, stored: (value) => value }
  const as = type === 'f32' ? 'f16' : 'vec4<f16>'
  return { as, read: (element) => `${type}(${element})`, stored: (value) => `${as}(${value})` }
}
