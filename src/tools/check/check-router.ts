/**
 * Checks of a router of the user's own, on random activations and parameters: properties that the rest of the program
 * relies on, and mistakes that a loss curve does not show, such as a wrong gradient or a choice that depends on later
 * tokens.
 */
import { median } from '../../core/averages.ts'
import { gradient } from '../../core/graph/gradient.ts'
import { add, multiply } from '../../core/graph/ops/elementwise.ts'
import { sum } from '../../core/graph/ops/reduction.ts'
import { sizeOf } from '../../core/graph/shape.ts'
import { constant, type Tensor } from '../../core/graph/tensor.ts'
import { routerOf } from '../../core/model/routing/routers.ts'
import type { Buffer as Memory, Runtime } from '../../engine/contract/runtime.ts'
import { randomFor } from '../../train/step/random.ts'
import type { Check, PluginCheck } from './check.ts'
import { EXPERTS, inputsOf, type Layered, layerOf, layerProgram, type Shape, trace } from './layer.ts'
import { compileProgram, type TracedProgram } from './program.ts'

/** Runtimes with one and with two threads. */
export interface Runtimes {
  readonly one: Runtime
  readonly two: Runtime
}

/** @param own Name and hash of a registered router. @throws UsageError if the router returns no choices */
export async function checkRouter(own: string, { one, two }: Runtimes): Promise<PluginCheck> {
  const router = routerOf(layerOf(own, 1).moe)
  const checks = [await checkChoices(own, one)]
  // Without choices of existing experts nothing else can be computed.
  if (checks[0]?.passed)
    checks.push(
      await checkGradients(own, one),
      await checkSight(own, one, router.sees ?? 'token'),
      await checkRepeated(own, one, two),
    )
  const time = checks[0]?.passed ? { over: 'top-k', ratio: await timeOverTopK(own, two) } : null
  return { part: 'router', id: own, checks, time }
}

/** Two experts for each token, or one if the router refuses two. */
function largestK(own: string): number {
  try {
    trace(layerOf(own, 2), SHAPE, true, 'float32')
    return 2
  } catch {
    return 1
  }
}

const SEEDS = [1, 2, 3, 4]
const SHAPE: Shape = { sequences: 3, sequence: 5 }

async function checkChoices(own: string, runtime: Runtime): Promise<Check> {
  const name = 'every token has k different experts of each prototype, with gates from 0 to 1'
  const refused = new Set<string>()
  for (const [prototypes, k] of [
    [1, 1],
    [1, 2],
    [2, 1],
  ] as const)
    for (const training of [true, false]) {
      const config = layerOf(own, k, { prototypes })
      let program: TracedProgram
      try {
        const { expert_TK, gate_TK, probability_TZN } = trace(config, SHAPE, training, 'float32').report.choice
        const total = probability_TZN && { total: sum(probability_TZN, { axes: [2] }) }
        program = await compileProgram(runtime, { expert: expert_TK, gate: gate_TK, ...total })
      } catch (error) {
        // A router may be for one expert of a token only, and for one prototype.
        if (k * prototypes === 1) throw error
        refused.add(k > 1 ? 'k 2' : 'two prototypes')
        continue
      }
      try {
        for (const seed of SEEDS) {
          const { expert, gate, total } = await program.run(inputsOf(config, SHAPE, seed))
          const fault = faultOfChoices(numbers(expert), numbers(gate), k, prototypes)
          if (fault !== null) return { name, passed: false, found: `${fault} (k ${k}, prototypes ${prototypes})` }
          const odd = numbers(total).find((each) => !(Math.abs(each - 1) < 1e-4))
          if (odd !== undefined) return { name, passed: false, found: `probabilities of a token add up to ${odd}` }
        }
      } finally {
        program.release()
      }
    }
  return {
    name,
    passed: true,
    found: `${SEEDS.length} random inputs${refused.size > 0 ? `; refused: ${[...refused].join(', ')}` : ''}`,
  }
}

const numbers = (memory: Memory | undefined): number[] => (memory ? Array.from(memory, Number) : [])

function faultOfChoices(expert: readonly number[], gate: readonly number[], k: number, prototypes: number) {
  const choices = k * prototypes
  const size = EXPERTS / prototypes
  for (let t = 0; t < expert.length / choices; t++) {
    const experts = expert.slice(t * choices, (t + 1) * choices)
    const wrong = experts.find((e) => !(Number.isInteger(e) && e >= 0 && e < EXPERTS))
    if (wrong !== undefined) return `token ${t} chose expert ${wrong} of ${EXPERTS}`
    if (new Set(experts).size < choices) return `token ${t} chose an expert twice: ${experts.join(', ')}`
    const elsewhere = experts.find((e, i) => Math.floor(e / size) !== Math.floor(i / k))
    if (elsewhere !== undefined) return `token ${t} chose expert ${elsewhere} in another prototype than its own`
    const odd = gate.slice(t * choices, (t + 1) * choices).find((g) => !(g >= 0 && g <= 1 + 1e-6))
    if (odd !== undefined) return `token ${t} has a gate of ${odd}`
  }
  return null
}

/** Largest error of a gradient, relative to 1 + |gradient|. */
const TOLERANCE = 1e-6
const STEP = 1e-6

/**
 * Central finite differences in float64. A choice that changes within a step makes the loss jump, where no gradient
 * exists; such elements are left out.
 */
async function checkGradients(own: string, runtime: Runtime): Promise<Check> {
  const name = 'gradients agree with finite differences'
  const shape = { sequences: 2, sequence: 3 }
  const config = layerOf(own, largestK(own))
  const { x_TD, y_TX, report, parameters } = trace(config, shape, true, 'float64')
  const random = randomFor(7, 'check')
  const weights = constant(
    Float64Array.from({ length: sizeOf(y_TX.shape) }, () => 2 * random.uniform() - 1),
    'float64',
    y_TX.shape,
  )
  const { losses } = report
  const output = sum(multiply(y_TX, weights))
  const objective = [output, ...(losses ? [losses.balance, losses.z] : [])].reduce((a, b) => add(a, b))
  const ofRouter = parameters.used
    .filter(({ spec }) => spec.name.includes('.router'))
    .map(({ spec, tensor }) => ({ name: spec.name, tensor }))
  const all = [{ name: 'x', tensor: x_TD }, ...ofRouter]
  const gradients = gradient(
    objective,
    all.map(({ tensor }) => tensor),
  )
  const fromOutput = gradient(
    output,
    ofRouter.map(({ tensor }) => tensor),
  )
  const program = await compileProgram(runtime, {
    objective,
    expert: report.choice.expert_TK,
    ...Object.fromEntries(gradients.map((tensor, i) => [`gradient ${i}`, tensor as Tensor])),
    ...Object.fromEntries(fromOutput.map((tensor, i) => [`from output ${i}`, tensor as Tensor])),
  })
  let largest = 0
  let compared = 0
  try {
    const inputs = inputsOf(config, shape, 1)
    const at = await program.run(inputs)
    if (ofRouter.length > 0 && ofRouter.every((_, i) => numbers(at[`from output ${i}`]).every((each) => each === 0)))
      return { name, passed: false, found: 'no gradient of the output reaches the router: do its gates have one?' }
    for (const [i, { name: of }] of all.entries()) {
      const values = inputs[of] as Float64Array
      for (const j of values.keys()) {
        const kept = values[j] as number
        const shifted = async (by: number) => {
          values[j] = kept + by
          const found = await program.run(inputs)
          values[j] = kept
          return { loss: Number(found.objective?.[0]), expert: String(found.expert) }
        }
        const [above, below] = [await shifted(STEP), await shifted(-STEP)]
        if (above.expert !== String(at.expert) || below.expert !== String(at.expert)) continue
        const expected = (above.loss - below.loss) / (2 * STEP)
        const found = Number(at[`gradient ${i}`]?.[j])
        compared++
        const error = Math.abs(found - expected) / (1 + Math.abs(expected))
        if (!(error <= TOLERANCE))
          return {
            name,
            passed: false,
            found: `${of}[${j}]: gradient ${found.toPrecision(6)}, differences ${expected.toPrecision(6)}`,
          }
        largest = Math.max(largest, error)
      }
    }
  } finally {
    program.release()
  }
  return { name, passed: compared > 0, found: `${compared} elements, largest error ${largest.toExponential(1)}` }
}

/** Changes tokens that a choice must not see, and compares choices and gates bit by bit. */
async function checkSight(own: string, runtime: Runtime, sees: string): Promise<Check> {
  const name = `choices depend only on what the router sees ("${sees}")`
  const config = layerOf(own, largestK(own))
  const isFree = (training: boolean) => sees === 'batch' || (sees === 'batch in training' && training)
  const passes = [true, false].filter((training) => !isFree(training))
  if (passes.length === 0)
    return { name, passed: true, found: 'any token of the pass: not causal, and no model with it can write text' }
  const others = sees === 'past' ? 'later tokens, or tokens of another sequence' : 'other tokens'
  for (const training of passes) {
    const { report } = trace(config, SHAPE, training, 'float32')
    const { expert_TK, gate_TK } = report.choice
    const program = await compileProgram(runtime, { expert: expert_TK, gate: gate_TK })
    try {
      for (const seed of SEEDS.slice(0, 2)) {
        const inputs = inputsOf(config, SHAPE, seed)
        const before = await program.run(inputs)
        for (let at = 0; at < SHAPE.sequences * SHAPE.sequence; at++) {
          const changed = changedAt(inputs, config, sees === 'past' ? laterThan(at) : (t) => t !== at)
          const after = await program.run(changed)
          if (rowOf(before, at, config.moe.k) !== rowOf(after, at, config.moe.k))
            return { name, passed: false, found: `token ${at} follows from ${others}` }
        }
      }
    } finally {
      program.release()
    }
  }
  return { name, passed: true, found: 'every token of three sequences, with other tokens changed' }
}

/** Whether a token is after a token in its sequence, or in another sequence. */
const laterThan = (at: number) => (t: number) =>
  t > at || Math.floor(t / SHAPE.sequence) !== Math.floor(at / SHAPE.sequence)

function changedAt(
  inputs: Record<string, Float64Array>,
  { width, vocabulary }: Layered,
  isChanged: (token: number) => boolean,
) {
  const x = (inputs.x as Float64Array).map((value, i) => (isChanged(Math.floor(i / width)) ? -value / 2 : value))
  const tokens = (inputs.tokens as Float64Array).map((id, t) => (isChanged(t) ? (id + 1) % vocabulary : id))
  return { ...inputs, x, tokens }
}

const rowOf = ({ expert, gate }: Record<string, Memory>, at: number, k: number): string =>
  [expert, gate]
    .map((all) =>
      Array.from(all ?? [], Number)
        .slice(k * at, k * at + k)
        .join(),
    )
    .join(' ')

/** Traces a layer twice, once for each runtime: a choice that is drawn while it is traced differs too. */
async function checkRepeated(own: string, one: Runtime, two: Runtime): Promise<Check> {
  const name = 'traced again, and with two threads instead of one, results have the same bits'
  const shape = { sequences: 4, sequence: 32 }
  const config = layerOf(own, largestK(own), {}, 32)
  const inputs = inputsOf(config, shape, 1)
  const results: string[] = []
  for (const runtime of [one, two]) {
    const program = await layerProgram(config, shape, runtime)
    const found = await program.run(inputs)
    results.push(
      Object.entries(found)
        .map(
          ([of, values]) =>
            `${of} ${Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64')}`,
        )
        .join(),
    )
    program.release()
  }
  return {
    name,
    passed: results[0] === results[1],
    found: `output and gradients of ${shape.sequences * shape.sequence} tokens`,
  }
}

const TURNS = 9

/** Median time of a layer forward and backward, in turns with top-k. */
async function timeOverTopK(own: string, runtime: Runtime): Promise<number> {
  const shape = { sequences: 8, sequence: 128 }
  const layers = await Promise.all(
    [own, null].map(async (id) => {
      const config = layerOf(id, 1, {}, 128, 16)
      return {
        program: await layerProgram(config, shape, runtime),
        inputs: inputsOf(config, shape, 1),
        times: [] as number[],
      }
    }),
  )
  for (let turn = 0; turn < TURNS + 2; turn++)
    for (const { program, inputs, times } of layers) {
      const began = performance.now()
      await program.run(inputs)
      if (turn >= 2) times.push(performance.now() - began)
    }
  for (const { program } of layers) program.release()
  const [mine = 0, theirs = 1] = layers.map(({ times }) => median(times))
  return mine / theirs
}
