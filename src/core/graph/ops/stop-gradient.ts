/** Values that a gradient does not follow. */
import { defineIndexOp, input, isFloat, type Tensor } from '../tensor.ts'

/** A value of {@link stopGradient}, and the input that stands for it. */
export interface Stopped {
  readonly name: string
  readonly value: Tensor
}

/** The values of {@link stopGradient} while a body of {@link withStopped} runs. */
let recorded: Stopped[] | null = null

/**
 * The values of `x`, as a constant of differentiation: no gradient reaches `x` through the result.
 *
 * @example A straight-through estimator: the values of one tensor with the gradient of another
 * ```ts
 * const y = add(soft, stopGradient(subtract(hard, soft)))
 * ```
 */
export const stopGradient: (x: Tensor) => Tensor = defineIndexOp('stop-gradient', 'elementwise', (x: Tensor) => {
  const { dtype, shape, source, output } = x
  // Gradients follow the application of a tensor, so a tensor without one is where they end.
  if (!recorded || !isFloat(dtype)) return { dtype, shape, source, output }
  const name = `stopped ${recorded.length}`
  recorded.push({ name, value: x })
  return input(name, dtype, shape)
})

/**
 * Runs `body` with an input in place of each value of {@link stopGradient}, for finite differences: they hold these
 * values fixed, as a gradient does. A value may depend on the inputs of the values before it.
 */
export function withStopped<T>(body: () => T): { readonly result: T; readonly stopped: readonly Stopped[] } {
  const outer = recorded
  const stopped: Stopped[] = []
  recorded = stopped
  try {
    return { result: body(), stopped }
  } finally {
    recorded = outer
  }
}
