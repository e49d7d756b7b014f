/**
 * Checks of a router of the user's own, on random activations and parameters: properties that the rest of the program
 * relies on, and mistakes that a loss curve does not show, such as a wrong gradient or a choice that depends on later
 * tokens.
 */
import { add } from '../../core/graph/ops/elementwise.ts'
import { sum } from '../../core/graph/ops/reduction.ts'
import type { Router } from '../../core/model/routing/contract.ts'
import { routerOf } from '../../core/model/routing/routers.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { Check, PluginCheck } from './check.ts'
import { checkDifferences, traceHeld, withoutGradient } from './differences.ts'
import { EXPERTS, inputsOf, layerOf, layerProgram, type Shape, trace, weighted } from './layer.ts'
import { compileProgram, numbers, type TracedProgram } from './program.ts'
import { checkParts, checkTraining } from './ranks.ts'
import { checkRepeated, timeRatio } from './side-by-side.ts'
import { checkSight } from './sight.ts'

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
  if (checks[0]?.passed) {
    const sees = router.sees ?? 'token'
    const sight = await checkChoicesSee(own, one, sees, router.sees !== undefined)
    checks.push(
      await checkGradients(own, one),
      sight,
      await checkBits(own, one, two),
      await checkTraining(layerOf(own, largestK(own)), one),
      // Choices that follow from other tokens change with their number too, which would be a second message about it.
      ...(sight.passed ? [await checkParts(layerOf(own, largestK(own)), one, sees)] : []),
    )
  }
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

async function checkGradients(own: string, runtime: Runtime): Promise<Check> {
  const name = 'gradients agree with finite differences, and every parameter has one'
  const shape = { sequences: 2, sequence: 3 }
  const config = layerOf(own, largestK(own))
  const { traced, inputs } = await traceHeld(runtime, inputsOf(config, shape, 1), () =>
    trace(config, shape, true, 'float64'),
  )
  const { x_TD, y_TX, report, parameters } = traced
  const { losses, choice } = report
  const output = weighted(y_TX)
  const ofRouter = parameters.used
    .filter(({ spec }) => spec.name.includes('.router'))
    .map(({ spec, tensor }) => ({ name: spec.name, tensor }))
  const unreached = await withoutGradient(runtime, { objective: output, of: ofRouter, inputs })
  if (ofRouter.length > 0 && unreached.length === ofRouter.length)
    return { name, passed: false, found: 'no gradient of the output reaches the router: do its gates have one?' }
  const objective = [output, ...(losses ? [losses.balance, losses.z] : [])].reduce((a, b) => add(a, b))
  const [without] = await withoutGradient(runtime, { objective, of: ofRouter, inputs })
  if (without !== undefined)
    return { name, passed: false, found: `no gradient reaches the parameter ${without}: does stopGradient hide it?` }
  return checkDifferences(name, runtime, {
    objective,
    of: [{ name: 'x', tensor: x_TD }, ...ofRouter],
    choices: choice.expert_TK,
    inputs,
  })
}

async function checkChoicesSee(
  own: string,
  runtime: Runtime,
  sees: NonNullable<Router['sees']>,
  isDeclared: boolean,
): Promise<Check> {
  const config = layerOf(own, largestK(own))
  return checkSight(runtime, {
    name: `choices depend only on what the router sees ("${sees}")`,
    sees,
    isDeclared,
    shape: SHAPE,
    config,
    trace(shape, training) {
      const { expert_TK, gate_TK } = trace(config, shape, training, 'float32').report.choice
      return { expert: expert_TK, gate: gate_TK }
    },
    inputs: (shape) => SEEDS.slice(0, 2).map((seed) => inputsOf(config, shape, seed)),
  })
}

async function checkBits(own: string, one: Runtime, two: Runtime): Promise<Check> {
  const shape = { sequences: 4, sequence: 32 }
  const config = layerOf(own, largestK(own), {}, 32)
  return checkRepeated(
    [one, two],
    inputsOf(config, shape, 1),
    (runtime) => layerProgram(config, shape, runtime),
    `output and gradients of ${shape.sequences * shape.sequence} tokens`,
  )
}

/** Time of a layer forward and backward, over that of a layer with top-k. */
async function timeOverTopK(own: string, runtime: Runtime): Promise<number> {
  const shape = { sequences: 8, sequence: 128 }
  const layer = async (id: string | null) => {
    const config = layerOf(id, 1, {}, 128, 16)
    return { program: await layerProgram(config, shape, runtime), inputs: inputsOf(config, shape, 1) }
  }
  return timeRatio([await layer(own), await layer(null)])
}
