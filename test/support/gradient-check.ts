/**
 * Checks the gradient of a graph in float64 against central finite differences. It differentiates Σ w·y over all
 * float outputs with fixed random weights, so that no error can hide in a symmetric sum.
 */

import { add, multiply } from '../../src/core/graph/ops/elementwise.ts'
import { gradient } from '../../src/core/graph/ops/gradient.ts'
import { sum } from '../../src/core/graph/ops/reduction.ts'
import { sizeOf } from '../../src/core/graph/shape.ts'
import { constant, input, isFloat, type Tensor } from '../../src/core/graph/tensor.ts'
import { evaluator } from './evaluate.ts'

/** A linear congruential generator, so that tests do not depend on the generator under test. */
export function testRandom(seed: number): () => number {
  let state = (seed * 2654435761 + 12345) >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

export interface CheckInput {
  readonly shape: readonly number[]
  /** Draws a value; default: uniform in [−2, 2]. */
  readonly values?: (random: () => number) => number
}

export interface CheckOptions {
  readonly step?: number
  readonly tolerance?: number
  readonly seed?: number
}

/** Σ w·y over all elements of float results, with random w from −1 to 1 that are float32 numbers. */
export function weightedSum(results: readonly Tensor[], random: () => number): Tensor {
  return results
    .filter(({ dtype }) => isFloat(dtype))
    .map((y) => {
      const weights = Float64Array.from({ length: sizeOf(y.shape) }, () => Math.fround(random() * 2 - 1))
      return sum(multiply(y, constant(weights, y.dtype, y.shape)))
    })
    .reduce((a, b) => add(a, b))
}

/** Largest error of any gradient element, relative to 1 + |gradient|. @throws if it exceeds the tolerance. */
export async function checkGradient(
  inputs: readonly CheckInput[],
  build: (...tensors: Tensor[]) => Tensor | readonly Tensor[],
  { step = 1e-5, tolerance = 1e-7, seed = 1 }: CheckOptions = {},
): Promise<number> {
  const random = testRandom(seed)
  const tensors = inputs.map(({ shape }, i) => input(`x${i}`, 'float64', shape))
  const built = build(...tensors)
  const results = (Array.isArray(built) ? built : [built]) as Tensor[]
  const objective = weightedSum(results, random)
  const gradients = gradient(objective, tensors)

  const program = await evaluator({
    objective,
    ...Object.fromEntries(gradients.map((tensor, i) => [`g${i}`, tensor])),
  })
  const { buffers } = program
  const values = inputs.map((given, i) => {
    const buffer = (buffers[`x${i}`] ?? new Float64Array(0)) as Float64Array
    const draw = given.values ?? ((uniform) => uniform() * 4 - 2)
    for (let j = 0; j < buffer.length; j++) buffer[j] = draw(random)
    return buffer
  })
  program.run()
  const analytic = gradients.map((_, i) => Float64Array.from(buffers[`g${i}`] as Float64Array))
  const result = buffers.objective as Float64Array

  let worst = 0
  values.forEach((buffer, i) => {
    for (let j = 0; j < buffer.length; j++) {
      const x = buffer[j] as number
      const at = (value: number): number => {
        buffer[j] = value
        program.run()
        return result[0] as number
      }
      const numeric = (at(x + step) - at(x - step)) / (2 * step)
      buffer[j] = x
      const exact = analytic[i]?.[j] as number
      const error = Math.abs(exact - numeric) / (1 + Math.abs(numeric))
      if (!(error <= tolerance))
        throw new Error(`gradient of x${i}[${j}] is ${exact}, finite differences give ${numeric} (seed ${seed})`)
      worst = Math.max(worst, error)
    }
  })
  program.release()
  return worst
}
