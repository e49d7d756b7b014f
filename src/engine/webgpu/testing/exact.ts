/** Numbers for tests of kernels, and comparison of float32 results with float64. */
import { expect } from 'vitest'
import { testRandom } from '../../../../test/support/gradient-check.ts'
import type { Kernel, Signature } from '../kernels/contract.ts'
import { toHalf } from './half.ts'
import { type Results, runKernel, type TestCall, type TestTensor, testDevice } from './run-kernel.ts'

/** A tensor of float32 or f16 numbers. */
export type Floats = TestTensor & { readonly data: Float32Array }

/** A tensor of float32 numbers between −1 and 1. */
export function randomTensor(shape: readonly number[], seed: number): Floats {
  const random = testRandom(seed)
  const size = shape.reduce((product, d) => product * d, 1)
  return { dtype: 'float32', shape, data: Float32Array.from({ length: size }, () => 2 * random() - 1) }
}

/** The tensor with its numbers rounded to f16, in memory as f16 or as float32. */
export const rounded = (tensor: Floats, dtype: 'float16' | 'float32' = 'float16'): Floats => ({
  ...tensor,
  dtype,
  data: tensor.data.map(toHalf),
})

/** A tensor without numbers: an output. */
export const float = (shape: readonly number[], dtype: 'float16' | 'float32' = 'float32'): TestTensor => ({
  dtype,
  shape,
})

/** Runs a kernel twice: the same inputs give the same bits. */
export async function runTwice<S extends Signature>(kernel: Kernel<S>, call: TestCall<S>): Promise<Results<S>> {
  if (!testDevice) throw new Error('no GPU')
  const results = await runKernel(testDevice, kernel, call)
  expect(await runKernel(testDevice, kernel, call)).toEqual(results)
  return results
}

/** A number in float64, with the sum of the absolute values of all terms that went into it. */
export interface Exact {
  readonly value: number
  readonly magnitude: number
}

export const exact = (value: number): Exact => ({ value, magnitude: Math.abs(value) })
export const plus = (a: Exact, b: Exact): Exact => ({
  value: a.value + b.value,
  magnitude: a.magnitude + b.magnitude,
})
export const times = (a: Exact, b: Exact): Exact => ({ value: a.value * b.value, magnitude: a.magnitude * b.magnitude })

/**
 * Each rounding of a float32 sum errs by at most 6e-8 of the partial sum. Roundings cancel mostly: a few of them bound
 * the error of sums of a few thousand terms.
 */
const TOLERANCE = 1e-6

/**
 * Maximum relative error of a rounding to f16, which has 11 significant bits. Tiny numbers have an error of up to 2⁻²⁵.
 */
export const HALF_ROUNDING = 2 ** -11

/**
 * Compares results with exact numbers; a result whose exact number is null is not compared.
 * @param tolerance Tolerance relative to the magnitude, besides the tolerance of float32.
 */
export function expectExact(results: ArrayLike<number>, all: readonly (Exact | null)[], tolerance = 0): void {
  expect(results.length).toBe(all.length)
  const wrong = all.flatMap((of, i) => {
    const value = results[i] as number
    return !of || Math.abs(value - of.value) <= (TOLERANCE + tolerance) * of.magnitude + tolerance * 2 ** -14
      ? []
      : [`[${i}] ${value}, not ${of.value}`]
  })
  expect(wrong.slice(0, 5)).toEqual([])
}

/** Rows of numbers. */
export type Matrix = readonly (readonly Exact[])[]

/** Rows `from` to `to` of a tensor [..., width]. */
export const matrixOf = ({ data }: Floats, width: number, from: number, to: number): Matrix =>
  Array.from({ length: to - from }, (_, i) => Array.from(data.subarray((from + i) * width).subarray(0, width), exact))

/** @param columns Number of columns of `a`, which may have no rows. */
export const transpose = (a: Matrix, columns: number): Matrix =>
  Array.from({ length: columns }, (_, j) => a.map((row) => row[j] as Exact))

/** The product a·b. @param columns Number of columns of `b`, which may have no rows. */
export const multiply = (a: Matrix, b: Matrix, columns: number): Matrix =>
  a.map((row) =>
    Array.from({ length: columns }, (_, j) =>
      row.reduce((sum, x, l) => plus(sum, times(x, b[l]?.[j] as Exact)), exact(0)),
    ),
  )

/** Combines matrices element by element. */
export const zip = (a: Matrix, b: Matrix, of: (x: Exact, y: Exact) => Exact): Matrix =>
  a.map((row, i) => row.map((x, j) => of(x, b[i]?.[j] as Exact)))
