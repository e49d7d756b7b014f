/**
 * Arrays of floats that WGSL reads and writes four numbers at a time: as vectors where every line of memory is a whole
 * number of vectors, else element by element, and as float32 or as f16. Code that uses the functions below need not
 * know the form.
 */
import { dim } from '../../../../core/graph/shape.ts'
import type { Operand, Use } from '../contract.ts'

/** WGSL types of numbers. */
export type Float = 'f32' | 'f16'

/** An array in WGSL: its name, the type of its numbers, and whether its elements are vectors. */
export interface Floats {
  readonly array: string
  readonly wide: boolean
  readonly type: Float
}

/** A float operand whose lines of consecutive numbers are `line` long. */
export interface Lines {
  readonly of: Operand
  readonly line: number
}

/** Lines along the last axis. */
export const linesOf = (of: Operand): Lines => ({ of, line: dim(of.shape, -1) })

/**
 * How to bind the operands of one dispatch. Operands of the same size may be the same memory (x·x, or a sum written
 * over its addend), which has one type only.
 */
export const asFloats = (operands: readonly Lines[]): (Use & Omit<Floats, 'array'>)[] =>
  operands.map(({ of }) => {
    const wide = operands.every((other) => other.of.size !== of.size || other.line % 4 === 0)
    const type = of.dtype === 'float16' ? 'f16' : 'f32'
    return { of, ...(wide && { as: `vec4<${type}>` as const }), wide, type }
  })

/** WGSL that converts a vector of numbers to another type. */
export const converted = (value: string, from: Float, to: Float): string =>
  from === to ? value : `vec4<${to}>(${value})`

/**
 * `fn NAME(at: u32, count: u32) -> vec4<TYPE>`: `count` numbers from `at` on, at most four; the rest is arbitrary.
 * @param as Type of the numbers in the result.
 */
export const readFour = (name: string, { array, wide, type }: Floats, as: Float = 'f32'): string =>
  wide
    ? `
fn ${name}(at: u32, count: u32) -> vec4<${as}> {
  return ${converted(`${array}[at / 4u]`, type, as)};
}`
    : `
fn ${name}(at: u32, count: u32) -> vec4<${as}> {
  let last = at + min(count, 4u) - 1u;
  let next = min(vec3<u32>(at + 1u, at + 2u, at + 3u), vec3<u32>(last));
  return ${converted(`vec4<${type}>(${array}[at], ${array}[next.x], ${array}[next.y], ${array}[next.z])`, type, as)};
}`

/** `fn NAME(at: u32, count: u32, value: vec4<f32>)`: writes `count` numbers from `at` on, at most four. */
export const writeFour = (name: string, { array, wide, type }: Floats): string => {
  if (wide)
    return `
fn ${name}(at: u32, count: u32, value: vec4<f32>) {
  ${array}[at / 4u] = ${converted('value', 'f32', type)};
}`
  const number = (of: string) => (type === 'f32' ? of : `${type}(${of})`)
  return `
fn ${name}(at: u32, count: u32, value: vec4<f32>) {
  ${array}[at] = ${number('value.x')};
  if (count > 1u) { ${array}[at + 1u] = ${number('value.y')}; }
  if (count > 2u) { ${array}[at + 2u] = ${number('value.z')}; }
  if (count > 3u) { ${array}[at + 3u] = ${number('value.w')}; }
}`
}

/** A WGSL literal of type f32. */
export function literal(value: number): string {
  const rounded = Math.fround(value)
  if (!Number.isFinite(rounded)) throw new Error(`internal: ${value} is no float32 literal`)
  return `f32(${rounded})`
}
