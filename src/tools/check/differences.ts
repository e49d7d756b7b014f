/** Gradients of a traced graph beside finite differences. */
import { gradient } from '../../core/graph/ops/gradient.ts'
import { withStopped } from '../../core/graph/ops/stop-gradient.ts'
import type { Tensor } from '../../core/graph/tensor.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { Check } from './check.ts'
import { compileProgram, numbers } from './program.ts'

/** Largest error of a gradient, relative to 1 + |gradient|. */
const TOLERANCE = 1e-6
const STEP = 1e-6

export interface Differentiated {
  /** A scalar, in float64. */
  readonly objective: Tensor
  /** The inputs whose gradients are compared, by their names in `inputs`. */
  readonly of: readonly { readonly name: string; readonly tensor: Tensor }[]
  /** Choices: an element for which they change within a step is left out, since no gradient exists there. */
  readonly choices?: Tensor
  readonly inputs: Readonly<Record<string, Float64Array>>
}

/**
 * Traces a graph in which each value of `stopGradient` is an input, and adds these values to `inputs`: differences hold
 * them fixed, as gradients do.
 */
export async function traceHeld<Traced>(
  runtime: Runtime,
  inputs: Differentiated['inputs'],
  trace: () => Traced,
): Promise<{ readonly traced: Traced; readonly inputs: Differentiated['inputs'] }> {
  const { result, stopped } = withStopped(trace)
  const held = { ...inputs }
  for (const { name, value } of stopped) {
    const program = await compileProgram(runtime, { value })
    try {
      held[name] = Float64Array.from(numbers((await program.run(held)).value))
    } finally {
      program.release()
    }
  }
  return { traced: result, inputs: held }
}

/** Compares every element of the gradients with central finite differences in float64. */
export async function checkDifferences(
  name: string,
  runtime: Runtime,
  { objective, of, choices, inputs }: Differentiated,
): Promise<Check> {
  const gradients = gradient(
    objective,
    of.map(({ tensor }) => tensor),
  )
  const program = await compileProgram(runtime, {
    objective,
    ...(choices && { choices }),
    ...Object.fromEntries(gradients.map((tensor, i) => [`gradient ${i}`, tensor])),
  })
  let largest = 0
  let compared = 0
  try {
    const at = await program.run(inputs)
    for (const [i, { name: input }] of of.entries()) {
      const values = inputs[input] as Float64Array
      for (const j of values.keys()) {
        const kept = values[j] as number
        const shifted = async (by: number) => {
          values[j] = kept + by
          const found = await program.run(inputs)
          values[j] = kept
          return { loss: Number(found.objective?.[0]), choices: String(found.choices) }
        }
        const [above, below] = [await shifted(STEP), await shifted(-STEP)]
        if ([above, below].some((each) => each.choices !== String(at.choices))) continue
        const expected = (above.loss - below.loss) / (2 * STEP)
        const found = Number(at[`gradient ${i}`]?.[j])
        compared++
        const error = Math.abs(found - expected) / (1 + Math.abs(expected))
        if (!(error <= TOLERANCE))
          return {
            name,
            passed: false,
            found: `${input}[${j}]: gradient ${found.toPrecision(6)}, differences ${expected.toPrecision(6)}`,
          }
        largest = Math.max(largest, error)
      }
    }
  } finally {
    program.release()
  }
  return { name, passed: compared > 0, found: `${compared} elements, largest error ${largest.toExponential(1)}` }
}

/** The names of the inputs from which no gradient reaches a scalar: all their gradients are 0. */
export async function withoutGradient(
  runtime: Runtime,
  { objective, of, inputs }: Differentiated,
): Promise<readonly string[]> {
  const gradients = gradient(
    objective,
    of.map(({ tensor }) => tensor),
  )
  const program = await compileProgram(
    runtime,
    Object.fromEntries(gradients.map((tensor, i) => [`gradient ${i}`, tensor])),
  )
  try {
    const found = await program.run(inputs)
    return of.flatMap(({ name }, i) => (numbers(found[`gradient ${i}`]).every((each) => each === 0) ? [name] : []))
  } finally {
    program.release()
  }
}
