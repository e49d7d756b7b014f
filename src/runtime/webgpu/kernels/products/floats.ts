/**
 * Arrays of float32 that WGSL reads and writes four numbers at a time: as `vec4<f32>` where every line of memory is a
 * whole number of vectors, else element by element. Code that uses the functions below need not know which.
 */
import type { Operand, Place, Use } from '../../contract.ts'

/** An operand of a dispatch, and whether its elements are vectors. */
export interface Floats {
  readonly use: Use
  readonly wide: boolean
}

/** A float32 operand, at its place, whose lines of consecutive numbers are `line` long. */
export interface Lines {
  readonly place: Place
  readonly operand: Pick<Operand, 'size'>
  readonly line: number
}

/**
 * How to bind the operands of one dispatch. Operands of the same size may be the same memory (x·x, or a sum written
 * over its addend), which has one type only.
 */
export const asFloats = (operands: readonly Lines[]): Floats[] =>
  operands.map(({ place, operand: { size } }) => {
    const wide = operands.every(({ operand, line }) => operand.size !== size || line % 4 === 0)
    return { use: { ...place, ...(wide && { as: 'vec4<f32>' }) }, wide }
  })

/** `fn NAME(at: u32, count: u32) -> vec4<f32>`: `count` numbers from `at` on, at most four; the rest is arbitrary. */
export const readFour = (name: string, array: string, { wide }: Floats): string =>
  wide
    ? `
fn ${name}(at: u32, count: u32) -> vec4<f32> {
  return ${array}[at / 4u];
}`
    : `
fn ${name}(at: u32, count: u32) -> vec4<f32> {
  let last = at + min(count, 4u) - 1u;
  let next = min(vec3<u32>(at + 1u, at + 2u, at + 3u), vec3<u32>(last));
  return vec4<f32>(${array}[at], ${array}[next.x], ${array}[next.y], ${array}[next.z]);
}`

/** `fn NAME(at: u32, count: u32, value: vec4<f32>)`: writes `count` numbers from `at` on, at most four. */
export const writeFour = (name: string, array: string, { wide }: Floats): string =>
  wide
    ? `
fn ${name}(at: u32, count: u32, value: vec4<f32>) {
  ${array}[at / 4u] = value;
}`
    : `
fn ${name}(at: u32, count: u32, value: vec4<f32>) {
  ${array}[at] = value.x;
  if (count > 1u) { ${array}[at + 1u] = value.y; }
  if (count > 2u) { ${array}[at + 2u] = value.z; }
  if (count > 3u) { ${array}[at + 3u] = value.w; }
}`

/** A WGSL literal of type f32. */
export function literal(value: number): string {
  const rounded = Math.fround(value)
  if (!Number.isFinite(rounded)) throw new Error(`internal: ${value} is no float32 literal`)
  return `f32(${rounded})`
}
