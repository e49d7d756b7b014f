/**
 * The conformance suite of routers, on random inputs, called for each router and setting. It checks only the
 * contract: choices, positions, slots and the result of the layer.
 */
import { describe, expect, test } from 'vitest'
import { multiply } from '../../src/core/graph/ops/elementwise.ts'
import { combine, dispatch, type SlotMap } from '../../src/core/graph/ops/expert.ts'
import { gradient } from '../../src/core/graph/ops/gradient.ts'
import { scatterAdd } from '../../src/core/graph/ops/indexing.ts'
import { sum } from '../../src/core/graph/ops/reduction.ts'
import { reshape } from '../../src/core/graph/ops/shape.ts'
import { sizeOf } from '../../src/core/graph/shape.ts'
import { constant, input, type Tensor } from '../../src/core/graph/tensor.ts'
import type { MoeConfig } from '../../src/core/model/config/moe-config.ts'
import { activatedExperts } from '../../src/core/model/config/moe-config.ts'
import { type ModelConfig, modelSchema } from '../../src/core/model/config.ts'
import { moeLayer } from '../../src/core/model/moe.ts'
import { parameterSpecs, SymbolicParameters } from '../../src/core/model/parameters.ts'
import { capacityOf, placeChoices } from '../../src/core/model/routing/capacity.ts'
import { hasRouterWeights, route, routerWeights } from '../../src/core/model/routing/routers.ts'
import { paddedSlots, raggedSlots } from '../../src/core/model/routing/slots.ts'
import { compiled, evaluate } from './evaluate.ts'
import { testRandom } from './gradient-check.ts'

export type MoeSettings = Partial<Omit<MoeConfig, 'balance'>> & Pick<MoeConfig, 'router' | 'experts'>

const WIDTH = 4
const TOKENS = 12

export const configOf = (moe: MoeSettings): ModelConfig & { moe: MoeConfig } =>
  modelSchema.parse({ layers: 1, width: WIDTH, heads: 1, moe: { hidden: 3, ...moe } }) as ModelConfig & {
    moe: MoeConfig
  }

/** Random inputs of one layer: activations, router, experts, given choices. */
export function layerInputs(config: ModelConfig & { moe: MoeConfig }, seed: number, tokens = TOKENS) {
  const { moe } = config
  const random = testRandom(seed)
  const normal = (count: number) => Float64Array.from({ length: count }, () => random() * 4 - 2)
  const choices = activatedExperts(moe)
  const given = new Int32Array(tokens * choices)
  for (let t = 0; t < tokens; t++) {
    const pool = Array.from({ length: moe.experts }, (_, e) => e)
    for (let k = 0; k < choices; k++)
      given[t * choices + k] = pool.splice(Math.floor(random() * pool.length), 1)[0] ?? 0
  }
  const weights = Object.fromEntries(
    parameterSpecs(config)
      .filter(({ name }) => name.startsWith('layers.0.moe'))
      .map(({ name, shape }) => [name, normal(sizeOf(shape))]),
  )
  return { x: normal(tokens * config.width), weights, given }
}

type Inputs = ReturnType<typeof layerInputs>

/** All inputs by name, with stacked weights and also their parts for single experts; a program uses some of them. */
function inputsByName({ x, weights, given }: Inputs, experts: number): Record<string, ArrayLike<number>> {
  const all: Record<string, ArrayLike<number>> = { x, given, ...weights }
  for (const [name, values] of Object.entries(weights)) {
    if (!name.includes('{e}')) continue
    const size = values.length / experts
    for (let e = 0; e < experts; e++) all[name.replace('{e}', String(e))] = values.subarray(e * size, (e + 1) * size)
  }
  return all
}

function trace(config: ModelConfig & { moe: MoeConfig }, training: boolean, tokens = TOKENS) {
  const { moe } = config
  const parameters = new SymbolicParameters(parameterSpecs(config), 'float64')
  const x_TD = input('x', 'float64', [tokens, config.width])
  const given_TK = input('given', 'int32', [tokens, activatedExperts(moe)])
  const rule = training ? ('train' as const) : ('eval' as const)
  // The tokens of a group are one sequence.
  const sequence = tokens / moe.groups
  const pass = { batch: moe.groups, sequence, training, capacity: rule }
  const tokens_T = input('tokens', 'int32', [tokens])
  const { y_TX: y_TD } = moeLayer({ config, moe, parameters, layer: 0, x_TD, tokens_T, given_TK, pass })
  const choice = route({
    moe,
    x_TD,
    given_TK,
    weights: routerWeights({ moe, width: config.width }, parameters, 'layers.0.moe.router'),
    tokens_T,
    sequence,
    training,
  })
  return {
    parameters,
    x_TD,
    y_TD,
    choice,
    placement: placeChoices(moe, choice, { groups: moe.groups, sequence, rule }),
  }
}

/** The results of a layer [T, D], row-major, for inputs of the same number of tokens. */
async function layerResults(config: ModelConfig & { moe: MoeConfig }, inputs: readonly Inputs[]): Promise<number[][]> {
  const tokens = (inputs[0] as Inputs).x.length / config.width
  const program = await compiled({ y: trace(config, true, tokens).y_TD })
  const results = inputs.map((given) => program.run(inputsByName(given, config.moe.experts)).y as number[])
  program.release()
  return results
}

/** The result of a layer [T, D], row-major. */
export async function layerResult(config: ModelConfig & { moe: MoeConfig }, given: Inputs): Promise<number[]> {
  return (await layerResults(config, [given]))[0] as number[]
}

/** The result, and the gradients of a weighted sum of it with respect to activations and parameters, by name. */
export async function layerGradients(
  config: ModelConfig & { moe: MoeConfig },
  given: Inputs,
): Promise<Record<string, number[]>> {
  const { parameters, x_TD, y_TD } = trace(config, true)
  const weights = constant(
    Float64Array.from({ length: sizeOf(y_TD.shape) }, (_, i) => 1 + (i % 5)),
    'float64',
    y_TD.shape,
  )
  const all = [x_TD, ...parameters.used.map(({ tensor }) => tensor)]
  const gradients = gradient(sum(multiply(y_TD, weights)), all)
  const outputs = Object.fromEntries(gradients.map((tensor, i) => [`gradient ${i}`, tensor]))
  return evaluate({ y: y_TD, ...outputs }, inputsByName(given, config.moe.experts))
}

export const expectClose = (actual: readonly number[], expected: ArrayLike<number>, tolerance = 1e-12) => {
  expect(actual.length).toBe(expected.length)
  actual.forEach((value, i) => {
    expect(Math.abs(value - (expected[i] as number)), `element ${i}: ${value}, expected ${expected[i]}`).toBeLessThan(
      tolerance,
    )
  })
}

export function describeRouter(name: string, settings: MoeSettings): void {
  const seeds = [1, 2, 3, 4]
  const config = configOf(settings)
  const { moe } = config
  const activated = activatedExperts(moe)
  // With `expert-choice`, every expert is a choice of every token.
  const choices = moe.router === 'expert-choice' ? moe.experts : activated
  const tokensInGroup = TOKENS / moe.groups

  describe(name, () => {
    test('the experts of a token are distinct and of few groups, and its gates are in range with the right sum', async () => {
      const { choice } = trace(config, true)
      const program = await compiled({ expert: choice.expert_TK, gate: choice.gate_TK })
      for (const seed of seeds) {
        const run = program.run(inputsByName(layerInputs(config, seed), moe.experts))
        for (let t = 0; t < TOKENS; t++) {
          const expert = run.expert?.slice(t * choices, (t + 1) * choices) ?? []
          expect(new Set(expert).size).toBe(choices)
          for (const e of expert) expect(e >= 0 && e < moe.experts).toBe(true)
          const gate = run.gate?.slice(t * choices, (t + 1) * choices) ?? []
          const scale = moe.routedScale
          for (const g of gate) expect(g >= 0 && g <= scale * (1 + 1e-12)).toBe(true)
          for (let z = 0; z < moe.prototypes; z++) {
            const each = choices / moe.prototypes
            const total = gate.slice(z * each, (z + 1) * each).reduce((a, b) => a + b, 0)
            // With `expert-choice`, the choices of a token are all N experts.
            const all = moe.scores === 'softmax' && each === moe.experts / moe.prototypes
            const sumsToOne = all || moe.renormalize || moe.softmax === 'after' || !hasRouterWeights(moe)
            if (sumsToOne) expect(total).toBeCloseTo(scale, 10)
            else expect(total).toBeLessThanOrEqual(scale * (moe.scores === 'sigmoid' ? each : 1 + 1e-12))
          }
          const size = moe.experts / moe.expertGroups
          const used = new Set(expert.map((e) => Math.floor(e / size)))
          if (moe.expertGroups > 1) expect(used.size).toBeLessThanOrEqual(moe.groupsPerToken)
        }
      }
      program.release()
    })

    test('every kept assignment has its own slot below C, and no expert holds more than C', async () => {
      for (const training of [true, false]) {
        const { choice, placement } = trace(config, training)
        const padded = paddedSlots(choice, placement, moe.experts)
        const ragged = raggedSlots(choice, placement, moe.experts)
        const program = await compiled({
          expert: choice.expert_TK,
          position: placement.position_TK,
          kept: placement.kept_GN,
          count: placement.count_GN,
          padded: padded.slotOfAssignment,
          ragged: ragged.slotOfAssignment,
          paddedBack: padded.assignmentOfSlot,
          raggedBack: ragged.assignmentOfSlot,
          sizes: ragged.sizes,
        })
        for (const seed of seeds) {
          const run = program.run(inputsByName(layerInputs(config, seed), moe.experts))
          const limit = capacityOf(moe, tokensInGroup, training ? 'train' : 'eval') ?? tokensInGroup
          const held = new Map<string, Set<number>>()
          const slots = { padded: new Set<number>(), ragged: new Set<number>() }
          let kept = 0
          for (let a = 0; a < TOKENS * choices; a++) {
            const position = run.position?.[a] ?? -1
            expect(position).toBeGreaterThanOrEqual(0)
            if (position >= limit) continue
            kept++
            const group = Math.floor(a / choices / tokensInGroup)
            const queue = `${group}/${run.expert?.[a]}`
            const places = held.get(queue) ?? new Set()
            held.set(queue, places.add(position))
            for (const layout of ['padded', 'ragged'] as const) {
              const slot = run[layout]?.[a] ?? -1
              slots[layout].add(slot)
              expect(run[`${layout}Back`]?.[slot], 'slot and assignment refer to each other').toBe(a)
            }
          }
          expect(slots.padded.size).toBe(kept)
          expect(slots.ragged.size).toBe(kept)
          let places = 0
          for (const set of held.values()) {
            expect(set.size).toBeLessThanOrEqual(limit)
            // Queues have no gaps.
            expect(Math.max(...set)).toBe(set.size - 1)
            places += set.size
          }
          expect(places).toBe(kept)
          expect(run.kept?.reduce((a, b) => a + b, 0)).toBe(kept)
          // With `expert-choice`, an expert takes as many tokens as its capacity, and counts them.
          if (moe.router === 'expert-choice') expect(run.count).toEqual(run.kept?.map(() => limit))
          else expect(run.count?.reduce((a, b) => a + b, 0)).toBe(TOKENS * choices)
          expect(run.sizes?.slice(0, -1).reduce((a, b) => a + b, 0)).toBe(kept)
        }
        program.release()
      }
    })

    test('a dropped assignment contributes exactly zero, and its gate has no gradient', async () => {
      const tight = configOf({ ...settings, capacity: '1x', factor: 0.4 })
      let dropped = 0
      const { choice, placement } = trace(tight, true)
      const gate = input('gate', 'float64', [TOKENS, choices])
      for (const plan of [paddedSlots(choice, placement, moe.experts), raggedSlots(choice, placement, moe.experts)]) {
        const slots = plan.tokenOfSlot.shape[0] as number
        const rows = constant(
          Float64Array.from({ length: slots * WIDTH }, (_, i) => 1 + (i % 7)),
          'float64',
          [slots, WIDTH],
        )
        const y = combine(rows, gate, plan)
        const [dGate] = gradient(sum(y), [gate])
        const program = await compiled({ y, dGate: dGate as Tensor, kept: plan.kept as Tensor })
        for (const seed of seeds) {
          const run = program.run({
            ...inputsByName(layerInputs(tight, seed), moe.experts),
            gate: new Float64Array(TOKENS * choices).fill(1),
          })
          for (let a = 0; a < TOKENS * choices; a++) {
            if (run.kept?.[a] === 1) expect(run.dGate?.[a]).not.toBe(0)
            else {
              dropped++
              expect(run.dGate?.[a]).toBe(0)
            }
          }
          for (let t = 0; t < TOKENS; t++) {
            const any = run.kept?.slice(t * choices, (t + 1) * choices).some((kept) => kept === 1)
            if (!any) expect(run.y?.slice(t * WIDTH, (t + 1) * WIDTH)).toEqual([0, 0, 0, 0])
          }
        }
        program.release()
      }
      expect(dropped).toBeGreaterThan(0)
    })

    test('dispatch and combine are adjoint: <dispatch x, r> = <x, combine r> over occupied slots', async () => {
      const { choice, placement, x_TD } = trace(config, true)
      for (const plan of [paddedSlots(choice, placement, moe.experts), raggedSlots(choice, placement, moe.experts)]) {
        const slots = plan.tokenOfSlot.shape[0] as number
        const r = input('r', 'float64', [slots, WIDTH])
        const inner = (a: Tensor, b: Tensor) => sum(multiply(a, b))
        const ones = constant(new Float64Array(TOKENS * choices).fill(1), 'float64', [TOKENS, choices])
        const program = await compiled({
          left: inner(multiply(dispatch(x_TD, plan), occupiedSlots(plan, slots, choices)), r),
          right: inner(x_TD, combine(r, ones, plan)),
        })
        for (const seed of seeds) {
          const random = testRandom(seed + 100)
          const run = program.run({
            ...inputsByName(layerInputs(config, seed), moe.experts),
            r: Float64Array.from({ length: slots * WIDTH }, () => random()),
          })
          expect(run.left?.[0]).toBeCloseTo(run.right?.[0] ?? Number.NaN, 10)
        }
        program.release()
      }
    })

    test('with capacity for every token nothing is dropped', async () => {
      const roomy = configOf({ ...settings, capacity: '1x', factor: moe.experts })
      const { placement } = trace(roomy, true)
      expect(placement.capacity).toBeNull()
      const { count, kept } = await evaluate(
        { count: placement.count_GN, kept: placement.kept_GN },
        inputsByName(layerInputs(roomy, 1), moe.experts),
      )
      expect(kept).toEqual(count)
    })

    test('padded and ragged computation give the same result', async () => {
      const given = seeds.map((seed) => layerInputs(config, seed))
      const padded = await layerResults(configOf({ ...settings, compute: 'padded' }), given)
      const ragged = await layerResults(configOf({ ...settings, compute: 'ragged' }), given)
      for (const [i, result] of padded.entries()) expectClose(result, ragged[i] as number[])
    })

    test('one pass with G groups equals G separate passes', async () => {
      for (const groups of [2, 3]) {
        const given = layerInputs(config, groups)
        const together = await layerResult(configOf({ ...settings, groups }), given)
        const size = TOKENS / groups
        const parts = Array.from({ length: groups }, (_, g) => ({
          ...given,
          x: given.x.slice(g * size * WIDTH, (g + 1) * size * WIDTH),
          given: given.given.slice(g * size * activated, (g + 1) * size * activated),
        }))
        const apart = await layerResults(configOf({ ...settings, groups: 1 }), parts)
        expectClose(together, apart.flat())
      }
    })

    test('permuting the experts does not change the result', async () => {
      const perPrototype = moe.experts / moe.prototypes / moe.expertGroups
      // With `position`, experts earn places at positions that depend on their index; without drops this has no effect.
      const config = configOf({ ...settings, ...(moe.priority === 'position' && roomyFor(settings)) })
      // A rotation within each prototype or group: old expert e becomes expert to(e).
      const to = (e: number) => Math.floor(e / perPrototype) * perPrototype + ((e + 1) % perPrototype)
      const moved = (given: Inputs): Inputs => {
        const weights: Inputs['weights'] = {}
        for (const [name, values] of Object.entries(given.weights)) {
          const copy = values.slice()
          if (name.endsWith('.router.bias')) for (let e = 0; e < moe.experts; e++) copy[to(e)] = values[e] as number
          else if (name.endsWith('.router'))
            for (let d = 0; d < WIDTH; d++)
              for (let e = 0; e < moe.experts; e++)
                copy[d * moe.experts + to(e)] = values[d * moe.experts + e] as number
          else if (name.includes('{e}')) {
            const size = values.length / moe.experts
            for (let e = 0; e < moe.experts; e++) copy.set(values.subarray(e * size, (e + 1) * size), to(e) * size)
          }
          weights[name] = copy
        }
        return { x: given.x, given: given.given.map(to), weights }
      }
      const given = seeds.map((seed) => layerInputs(config, seed))
      const results = await layerResults(config, [...given, ...given.map(moved)])
      for (const i of seeds.keys()) expectClose(results[seeds.length + i] as number[], results[i] as number[])
    })
  })
}

/** Settings that give capacity for every token, if the router has queues. */
const roomyFor = ({ router, experts }: MoeSettings): Partial<MoeSettings> =>
  router === 'expert-choice' ? {} : { capacity: '1x', factor: experts }

/** A tensor [R, 1] with 1 for slots that hold an assignment, computed from the assignments. */
function occupiedSlots(map: SlotMap, slots: number, choices: number): Tensor {
  const ones = constant(new Float64Array(TOKENS * choices).fill(1), 'float64', [TOKENS * choices])
  const weight = map.kept ? reshape(map.kept, [TOKENS * choices]) : ones
  return reshape(scatterAdd(weight, reshape(map.slotOfAssignment, [TOKENS * choices]), slots), [slots, 1])
}
