/**
 * Checks of a router of the user's own, on random activations and parameters: what the rest of the program relies on,
 * and what nobody sees in a loss curve, such as a gradient that is wrong or a choice that looks at later tokens.
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
import { EXPERTS, inputsOf, type Layered, layerOf, layerProgram, type Shape, trace } from './layer.ts'
import { compileProgram } from './program.ts'

export interface Check {
  readonly name: string
  readonly passed: boolean
  /** What was found. */
  readonly found: string
}

export interface RouterCheck {
  /** Name and hash. */
  readonly router: string
  readonly checks: readonly Check[]
  /** Time of a pass forward and backward through a layer with this router, over that with top-k. */
  readonly timeOverTopK: number
}

/** Runtimes with one and with two threads. */
export interface Runtimes {
  readonly one: Runtime
  readonly two: Runtime
}

/** @param own Name and hash of a registered router. @throws UsageError if the router returns no choices */
export async function checkRouter(own: string, { one, two }: Runtimes): Promise<RouterCheck> {
  const router = routerOf(layerOf(own, 1).moe)
  const checks = [
    await checkChoices(own, one),
    await checkGradients(own, one),
    await checkSight(own, one, router.sees ?? 'token'),
    await checkConservation(own, one),
    await checkThreads(own, one, two),
  ]
  return { router: own, checks, timeOverTopK: await timeOverTopK(own, two) }
}

const SEEDS = [1, 2, 3, 4]
const SHAPE: Shape = { sequences: 3, sequence: 5 }

async function checkChoices(own: string, runtime: Runtime): Promise<Check> {
  const name = 'every token has k different experts, with gates from 0 to 1'
  for (const k of [1, 2])
    for (const training of [true, false]) {
      const config = layerOf(own, k)
      const { report } = trace(config, SHAPE, training, 'float32')
      const { expert_TK, gate_TK } = report.choice
      const program = await compileProgram(runtime, { expert: expert_TK, gate: gate_TK })
      try {
        for (const seed of SEEDS) {
          const { expert = [], gate = [] } = await program.run(inputsOf(config, SHAPE, seed))
          const fault = faultOfChoices(Array.from(expert, Number), Array.from(gate, Number), k)
          if (fault !== null) return { name, passed: false, found: `${fault} (k ${k})` }
        }
      } finally {
        program.release()
      }
    }
  return { name, passed: true, found: `k 1 and 2, ${SEEDS.length} random inputs` }
}

function faultOfChoices(expert: readonly number[], gate: readonly number[], k: number): string | null {
  for (let t = 0; t < expert.length / k; t++) {
    const [experts, gates] = [expert, gate].map((all) => all.slice(t * k, (t + 1) * k)) as [number[], number[]]
    const wrong = experts.find((e) => !(Number.isInteger(e) && e >= 0 && e < EXPERTS))
    if (wrong !== undefined) return `token ${t} chose expert ${wrong} of ${EXPERTS}`
    if (new Set(experts).size < k) return `token ${t} chose expert ${experts[0]} twice`
    const odd = gates.find((g) => !(g >= 0 && g <= 1 + 1e-6))
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
  const config = layerOf(own, 2)
  const { x_TD, y_TX, report, parameters } = trace(config, shape, true, 'float64')
  const random = randomFor(7, 'check')
  const weights = constant(
    Float64Array.from({ length: sizeOf(y_TX.shape) }, () => 2 * random.uniform() - 1),
    'float64',
    y_TX.shape,
  )
  const { losses } = report
  const objective = [sum(multiply(y_TX, weights)), ...(losses ? [losses.balance, losses.z] : [])].reduce((a, b) =>
    add(a, b),
  )
  const ofRouter = parameters.used
    .filter(({ spec }) => spec.name.includes('.router'))
    .map(({ spec, tensor }) => ({ name: spec.name, tensor }))
  const all = [{ name: 'x', tensor: x_TD }, ...ofRouter]
  const gradients = gradient(
    objective,
    all.map(({ tensor }) => tensor),
  )
  const program = await compileProgram(runtime, {
    objective,
    expert: report.choice.expert_TK,
    ...Object.fromEntries(gradients.map((tensor, i) => [`gradient ${i}`, tensor as Tensor])),
  })
  let largest = 0
  let compared = 0
  try {
    const inputs = inputsOf(config, shape, 1)
    const at = await program.run(inputs)
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
  const config = layerOf(own, 2)
  const isFree = (training: boolean) => sees === 'batch' || (sees === 'batch in training' && training)
  const passes = [true, false].filter((training) => !isFree(training))
  if (passes.length === 0)
    return { name, passed: true, found: 'any token of the pass: not causal, and no model with it can write text' }
  const others = sees === 'token' ? 'other tokens' : 'later tokens, or tokens of another sequence'
  for (const training of passes) {
    const { report } = trace(config, SHAPE, training, 'float32')
    const { expert_TK, gate_TK } = report.choice
    const program = await compileProgram(runtime, { expert: expert_TK, gate: gate_TK })
    try {
      for (const seed of SEEDS) {
        const inputs = inputsOf(config, SHAPE, seed)
        const before = await program.run(inputs)
        const at = seed % (SHAPE.sequences * SHAPE.sequence)
        const changed = changedAt(inputs, config, sees === 'token' ? (t) => t !== at : laterThan(at))
        const after = await program.run(changed)
        if (rowOf(before, at) !== rowOf(after, at))
          return { name, passed: false, found: `token ${at} follows from ${others}` }
      }
    } finally {
      program.release()
    }
  }
  return { name, passed: true, found: `${SEEDS.length} random inputs, with other tokens changed` }
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

const rowOf = ({ expert, gate }: Record<string, Memory>, at: number): string =>
  [expert, gate]
    .map((all) =>
      Array.from(all ?? [], Number)
        .slice(2 * at, 2 * at + 2)
        .join(),
    )
    .join(' ')

/** With a tight capacity, every choice is either kept once or dropped. */
async function checkConservation(own: string, runtime: Runtime): Promise<Check> {
  const name = 'every choice is kept once or dropped, within the capacity'
  const config = layerOf(own, 2, { capacity: 'kx', factor: 1, priority: 'token' })
  const { report } = trace(config, SHAPE, true, 'float32')
  const program = await compileProgram(runtime, { count: report.count_N, kept: report.kept_N })
  try {
    for (const seed of SEEDS) {
      const { count = [], kept = [] } = await program.run(inputsOf(config, SHAPE, seed))
      const [counts, held] = [Array.from(count, Number), Array.from(kept, Number)]
      const total = counts.reduce((a, b) => a + b, 0)
      const choices = SHAPE.sequences * SHAPE.sequence * 2
      if (total !== choices) return { name, passed: false, found: `${total} of ${choices} choices` }
      const over = held.findIndex((of, e) => of > (report.capacity ?? Infinity) || of > (counts[e] as number))
      if (over >= 0) return { name, passed: false, found: `expert ${over} holds ${held[over]} of ${report.capacity}` }
    }
  } finally {
    program.release()
  }
  return { name, passed: true, found: `capacity ${report.capacity} of ${EXPERTS} experts` }
}

async function checkThreads(own: string, one: Runtime, two: Runtime): Promise<Check> {
  const name = 'results have the same bits with one thread and with two'
  const shape = { sequences: 4, sequence: 32 }
  const config = layerOf(own, 2, {}, 32)
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
