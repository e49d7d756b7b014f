/** Random tensors, and comparison with float64, for tests of kernels. */
import { expect } from 'vitest'
import type { Shape } from '../../../core/graph/model.ts'
import type { TestTensor } from './run-kernel.ts'

type Filled = TestTensor & { readonly data: Float32Array }
type Integers = TestTensor & { readonly data: Int32Array }

/** Reproducible numbers. */
export class Random {
  private state: number

  constructor(seed = 1) {
    this.state = seed
  }

  /** The next number, uniform in [−1, 1). */
  number(): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0
    return this.state / 2 ** 31 - 1
  }

  below(count: number): number {
    return Math.floor(((this.number() + 1) / 2) * count)
  }

  floats(shape: Shape, make: (i: number) => number = () => this.number()): Filled {
    return { dtype: 'float32', shape, data: Float32Array.from({ length: sizeOf(shape) }, (_, i) => make(i)) }
  }

  integers(shape: Shape, make: (i: number) => number): Integers {
    return { dtype: 'int32', shape, data: Int32Array.from({ length: sizeOf(shape) }, (_, i) => make(i)) }
  }
}

const sizeOf = (shape: Shape): number => shape.reduce((product, d) => product * d, 1)

/** A tensor that a kernel writes. */
export const result = (...shape: number[]): TestTensor => ({ dtype: 'float32', shape })

/** A tensor of f16 that a kernel writes. */
export const halfResult = (...shape: number[]): TestTensor => ({ dtype: 'float16', shape })

/** A small tensor with given numbers. */
export const vector = (...values: number[]): TestTensor => ({
  dtype: 'float32',
  shape: [values.length],
  data: Float32Array.from(values),
})

/** An expected value, as the terms of its sum. */
export type Terms = readonly number[]

const sum = (terms: Terms): number => terms.reduce((total, x) => total + x, 0)

/** Tolerance of {@link expectSums} if the kernel rounds the sum to f16. */
export const HALF_TOLERANCE = 2e-6 + 2 ** -11

/**
 * Checks each element against a sum in float64. The error of a float32 sum is relative to the sum of the absolute
 * values of its terms.
 */
export function expectSums(
  actual: Float64Array | undefined,
  count: number,
  termsOf: (i: number) => Terms,
  tolerance = 2e-6,
): void {
  expect(actual?.length).toBe(count)
  for (let i = 0; i < count; i++) {
    const terms = termsOf(i)
    const [value, expected, size] = [actual?.[i] as number, sum(terms), sum(terms.map(Math.abs))]
    if (!(Math.abs(value - expected) <= tolerance * size + 1e-37))
      throw new Error(`element ${i} is ${value} (expected ${expected} ± ${tolerance * size})`)
  }
}
