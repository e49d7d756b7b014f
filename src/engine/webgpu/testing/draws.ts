/** Numbers for tests of kernels. */
import type { Shape } from '../../../core/graph/model.ts'

export const sizeOf = (shape: Shape): number => shape.reduce((product, d) => product * d, 1)

/** Reproducible numbers in [−1, 1), as float32 (Numerical Recipes' linear congruential generator). */
export function numbers(count: number, seed = 1): Float32Array {
  let state = seed
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return state / 2 ** 31
  })
}

/** Reproducible integers from 0 to `below` − 1. */
export const integers = (count: number, below: number, seed = 1): Int32Array =>
  Int32Array.from(numbers(count, seed), (x) => Math.min(Math.floor(((x + 1) / 2) * below), below - 1))

/** The first difference of two results, or null. A diff of long arrays would take minutes. */
export function firstDifference(got: ArrayLike<number>, wanted: ArrayLike<number>): string | null {
  if (got.length !== wanted.length) return `${got.length} numbers, expected ${wanted.length}`
  for (let i = 0; i < got.length; i++)
    if (!Object.is(got[i], wanted[i])) return `${got[i]} at ${i}, expected ${wanted[i]}`
  return null
}
