/**
 * Support for tests of row kernels: unaligned arrays in one small arena, the first at address 0, and calls of
 * kernels as a thread of the pool makes them. `check` compares with expected values in float64.
 */
import { hostOf } from '../../../contract/arena.ts'
import { createArena } from '../../../native/cpu-arena.ts'
import { kernelModule, type OpFunctions, opFunctions } from '../module.ts'

const { memory: shared, buffer } = hostOf(createArena(2 ** 20))
const memory = new Float32Array(buffer)
const functions = opFunctions(await kernelModule(), shared)
export const call = (name: keyof OpFunctions, ...args: number[]): void => functions[name](...args)

/** The address of an absent array. */
export const absent = 0xffffffff

/** An array in the arena: its address in bytes, and a view. */
export interface Placed {
  readonly at: number
  readonly values: Float32Array
}

let top = 0
let state = 1
/** A random number, uniform in [-1, 1). */
export const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return state / 2 ** 31 - 1
}
export const below = (count: number) => Math.floor(((random() + 1) / 2) * count)

/** Begins a case: the first array will be at address 0. */
export function begin(seed: number): void {
  state = seed
  top = 0
  memory.fill(0)
}
/** Places an unaligned array; kernels must not touch the floats between arrays. */
export function place(count: number, make: (i: number) => number = random): Placed {
  const values = memory.subarray(top, top + count)
  for (let i = 0; i < count; i++) values[i] = make(i)
  const at = top * 4
  top += count + 1 + below(4)
  return { at, values }
}
export const integers = ({ at, values }: Placed) => new Int32Array(buffer, at, values.length)
export function placeIntegers(count: number, make: () => number): Placed {
  const placed = place(count)
  integers(placed).set(Array.from({ length: count }, make))
  return placed
}
export const at = (values: ArrayLike<number>, i: number) => values[i] ?? Number.NaN
/** The address of row r; rows are `stride` floats apart. */
export const row = ({ at }: Placed, r: number, stride: number) => at + r * stride * 4

const bits = () => new Uint32Array(buffer, 0, top + 64).slice()

/** The expected value of an element, and the sum of the absolute values of its terms. */
export type Value = readonly [value: number, size: number]
export const total = (terms: readonly number[]): Value => [
  terms.reduce((sum, x) => sum + x, 0),
  terms.reduce((sum, x) => sum + Math.abs(x), 0),
]

/** Elements that a kernel writes, by array and index; all others must stay unchanged. */
type Expected = ReadonlyMap<Placed, ReadonlyMap<number, Value>>
export function each(count: number, make: (i: number) => Value): Map<number, Value> {
  return new Map(Array.from({ length: count }, (_, i) => [i, make(i)]))
}
/** Values by element (r, c); rows are `stride` floats apart. */
export function eachOf(rows: number, width: number, stride: number, make: (r: number, c: number) => Value) {
  const values = new Map<number, Value>()
  for (let r = 0; r < rows; r++) for (let c = 0; c < width; c++) values.set(r * stride + c, make(r, c))
  return values
}

/**
 * Runs rows 0 to `rows` and checks that the results are as expected and nothing else is written. Then runs them
 * again in two parts and checks that every bit is the same, except `sums`, which each part writes for its rows.
 */
export function check(
  rows: number,
  run: (first: number, count: number) => void,
  expected: Expected,
  sums?: Placed,
): void {
  const before = bits()
  run(0, rows)
  const after = bits()
  const written = new Set<number>()
  for (const [{ at: address, values }, elements] of expected)
    for (const [i, [value, size]] of elements) {
      written.add(address / 4 + i)
      const error = Math.abs(at(values, i) - value)
      if (!(error <= 2e-6 * size)) throw new Error(`element ${i} is ${values[i]} (expected ${value})`)
    }
  for (const [i, word] of after.entries())
    if (word !== before[i] && !written.has(i)) throw new Error(`float ${i} outside the results was written`)
  new Uint32Array(buffer).set(before)
  const cut = below(rows + 1)
  run(0, cut)
  run(cut, rows - cut)
  const parts = bits()
  const summed = (i: number) => sums && i * 4 >= sums.at && i * 4 < sums.at + sums.values.byteLength
  for (const [i, word] of parts.entries())
    if (word !== after[i] && !summed(i)) throw new Error(`a cut at row ${cut} changes float ${i}`)
}
