/** Which tokens the outputs of a token depend on: other tokens are changed, and outputs compared bit by bit. */
import type { ModelConfig } from '../../core/model/config.ts'
import { joinWords } from '../../core/text/numbers.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { Check } from './check.ts'
import type { Shape } from './layer.ts'
import { compileProgram, numbers, type Outputs } from './program.ts'

export interface Sight {
  readonly name: string
  /** The tokens that a part may use; `batch` is any token of the pass. */
  readonly sees: 'token' | 'past' | 'batch' | 'batch in training'
  /** Whether the part says so itself; otherwise it is the default. */
  readonly isDeclared: boolean
  /** A small shape, of which every token is tested. */
  readonly shape: Shape
  readonly config: Pick<ModelConfig, 'width' | 'vocabulary'>
  /** Outputs whose rows are tokens, each with the same number of values for every token. */
  readonly trace: (shape: Shape, training: boolean) => Outputs
  /** Random inputs, among them activations `x` and ids `tokens`. */
  readonly inputs: (shape: Shape) => readonly Record<string, Float64Array>[]
}

/**
 * Shapes with sequences as long as those of small models: what a part sees may begin far away, or in blocks that divide
 * the sequence. 120 has the divisors that 128 has not.
 */
const LONG: readonly Shape[] = [
  { sequences: 2, sequence: 128 },
  { sequences: 2, sequence: 120 },
]
/** Tokens of a long sequence that are tested: about an eighth, at uneven distances. */
const isTested = (at: number): boolean => at % 128 < 4 || (at * 37) % 101 < 10

/** What to do about a part that does not say what it sees. */
const UNDECLARED =
  "; it has no sees, which means \"token\": add sees: 'past' if earlier tokens of the sequence are meant, or sees: 'batch' for any token"

export async function checkSight(runtime: Runtime, sight: Sight): Promise<Check> {
  const check = await checkDeclared(runtime, sight)
  return check.passed || sight.isDeclared ? check : { ...check, found: check.found + UNDECLARED }
}

async function checkDeclared(runtime: Runtime, sight: Sight): Promise<Check> {
  const { name, sees, shape } = sight
  const passes = [true, false].filter((training) => sees !== 'batch' && !(sees === 'batch in training' && training))
  if (passes.length === 0)
    return { name, passed: true, found: 'any token of the pass: not causal, and no model with it can write text' }
  const fault = await faultIn(runtime, sight, shape, passes, () => true)
  if (fault !== null) return { name, passed: false, found: fault }
  const lengths = [shape.sequence]
  const refused: string[] = []
  for (const { sequences, sequence } of LONG) {
    try {
      const found = await faultIn(runtime, sight, { sequences, sequence }, passes, isTested)
      if (found !== null) return { name, passed: false, found }
      lengths.push(sequence)
    } catch (error) {
      // A part may be for certain lengths only, which is no fault, but nothing is known about the others.
      refused.push(`; not tested in ${sequence} tokens: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return {
    name,
    passed: true,
    found: `with other tokens changed, in sequences of ${joinWords(lengths.map(String))} tokens${refused.join('')}`,
  }
}

/** A token that depends on one that it must not see, in words; null if there is none. */
async function faultIn(
  runtime: Runtime,
  { sees, config, trace, inputs: inputsOf }: Sight,
  shape: Shape,
  passes: readonly boolean[],
  isTested: (at: number) => boolean,
): Promise<string | null> {
  const others = sees === 'past' ? 'later tokens, or tokens of another sequence' : 'other tokens'
  const tokens = shape.sequences * shape.sequence
  for (const training of passes) {
    const program = await compileProgram(runtime, trace(shape, training))
    const rowsOf = async (inputs: Record<string, Float64Array>) => {
      const found = Object.values(await program.run(inputs)).map(numbers)
      return (at: number) => found.map((all) => all.slice(...bounds(all.length / tokens, at)).join()).join(' ')
    }
    try {
      for (const inputs of inputsOf(shape)) {
        const before = await rowsOf(inputs)
        for (let at = 0; at < tokens; at++) {
          if (!isTested(at)) continue
          const isChanged = sees === 'past' ? laterThan(at, shape) : (t: number) => t !== at
          const after = await rowsOf(changed(inputs, config, isChanged))
          if (before(at) !== after(at))
            return `token ${at} follows from ${others} (in ${shape.sequences} sequences of ${shape.sequence} tokens)`
        }
      }
    } finally {
      program.release()
    }
  }
  return null
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
