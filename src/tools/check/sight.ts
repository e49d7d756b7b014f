/** Which tokens the outputs of a token depend on: other tokens are changed, and outputs compared bit by bit. */
import type { ModelConfig } from '../../core/model/config.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { Check } from './check.ts'
import type { Shape } from './layer.ts'
import { compileProgram, numbers, type Outputs } from './program.ts'

export interface Sight {
  readonly name: string
  /** The tokens that a part may use; `batch` is any token of the pass. */
  readonly sees: 'token' | 'past' | 'batch' | 'batch in training'
  readonly shape: Shape
  readonly config: Pick<ModelConfig, 'width' | 'vocabulary'>
  /** Outputs whose rows are tokens, each with the same number of values for every token. */
  readonly trace: (training: boolean) => Outputs
  /** Random inputs, among them activations `x` and ids `tokens`. */
  readonly inputs: readonly Record<string, Float64Array>[]
}

export async function checkSight(runtime: Runtime, sight: Sight): Promise<Check> {
  const { name, sees, shape, config, trace } = sight
  const passes = [true, false].filter((training) => sees !== 'batch' && !(sees === 'batch in training' && training))
  if (passes.length === 0)
    return { name, passed: true, found: 'any token of the pass: not causal, and no model with it can write text' }
  const others = sees === 'past' ? 'later tokens, or tokens of another sequence' : 'other tokens'
  const tokens = shape.sequences * shape.sequence
  for (const training of passes) {
    const program = await compileProgram(runtime, trace(training))
    const rowsOf = async (inputs: Record<string, Float64Array>) => {
      const found = Object.values(await program.run(inputs)).map(numbers)
      return (at: number) => found.map((all) => all.slice(...bounds(all.length / tokens, at)).join()).join(' ')
    }
    try {
      for (const inputs of sight.inputs) {
        const before = await rowsOf(inputs)
        for (let at = 0; at < tokens; at++) {
          const isChanged = sees === 'past' ? laterThan(at, shape) : (t: number) => t !== at
          const after = await rowsOf(changed(inputs, config, isChanged))
          if (before(at) !== after(at)) return { name, passed: false, found: `token ${at} follows from ${others}` }
        }
      }
    } finally {
      program.release()
    }
  }
  return { name, passed: true, found: `every token of ${shape.sequences} sequences, with other tokens changed` }
}

const bounds = (size: number, at: number): [number, number] => [size * at, size * (at + 1)]

/** Whether a token is after a token in its sequence, or in another sequence. */
const laterThan =
  (at: number, { sequence }: Shape) =>
  (t: number) =>
    t > at || Math.floor(t / sequence) !== Math.floor(at / sequence)

function changed(
  inputs: Record<string, Float64Array>,
  { width, vocabulary }: Pick<ModelConfig, 'width' | 'vocabulary'>,
  isChanged: (token: number) => boolean,
) {
  const x = (inputs.x as Float64Array).map((value, i) => (isChanged(Math.floor(i / width)) ? -value / 2 : value))
  const tokens = (inputs.tokens as Float64Array).map((id, t) => (isChanged(t) ? (id + 1) % vocabulary : id))
  return { ...inputs, x, tokens }
}
