/** The runtime that the suite tests, and small programs and numbers for it. */
import { expect } from 'vitest'
import type { DType } from '../../../core/graph/model.ts'
import { add } from '../../../core/graph/ops/elementwise.ts'
import { matmul } from '../../../core/graph/ops/matmul.ts'
import type { Program } from '../../../core/graph/program.ts'
import { input, scope } from '../../../core/graph/tensor.ts'
import type { Executable, Runtime, RuntimeOptions } from '../../contract/runtime.ts'

/** Capabilities that runtimes need not have. */
export interface Has {
  readonly float64: boolean
  /** Whether it has synchronous runs (`Binding.runSync`). */
  readonly sync: boolean
  /** Whether the caller chooses the number of threads. */
  readonly threads: boolean
}

export interface Device {
  /** The runtime under test, which is open while tests run. */
  readonly runtime: Runtime
  readonly has: Has
  create(options?: Pick<RuntimeOptions, 'threads' | 'profile'>): Promise<Runtime>
}

/** y = x + b, elementwise. */
export function addition(dtype: DType, length: number): Program {
  const y = scope('layers.3', () => add(input('x', dtype, [length]), input('b', dtype, [length])))
  return { outputs: { y } }
}

/** y = x · w, for square matrices. */
export function product(n: number): Program {
  const y = scope('head', () => matmul(input('x', 'float32', [n, n]), input('w', 'float32', [n, n])))
  return { outputs: { y } }
}

/** Compiles a program, and releases it after the work. */
export async function use<T>(
  { runtime }: Device,
  program: Program,
  work: (executable: Executable) => T | Promise<T>,
): Promise<T> {
  const executable = await runtime.compile(program)
  try {
    return await work(executable)
  } finally {
    executable.release()
  }
}

let state = 1
/** A random number, uniform in [-1, 1); the sequence is the same in every run. */
export const random = (): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return state / 2 ** 31 - 1
}
export const randomFloats = (count: number, size = 1): Float32Array =>
  Float32Array.from({ length: count }, () => size * random())

/**
 * Largest error relative to the value, or to the root mean square of all values, because small values may be
 * differences of large ones.
 */
const TOLERANCE = 1e-5

/** Expects numbers to be within the tolerance. @param expected The right numbers, in float64. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  expect(actual.length, what).toBe(expected.length)
  const values = Array.from(expected)
  const usual = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length)
  values.forEach((value, i) => {
    const error = Math.abs((actual[i] as number) - value)
    if (!(error <= TOLERANCE * Math.max(usual, Math.abs(value))))
      throw new Error(`${what}: element ${i} is ${actual[i]} (expected ${value})`)
  })
}
