/**
 * Compares the compiled model with the float64 witness (test/witness) on random cases of every router: losses,
 * statistics and gradients, for every capacity rule and layout of the experts' rows.
 */
import { expect } from 'vitest'
import { gradient } from '../../src/core/graph/ops/gradient.ts'
import { sum } from '../../src/core/graph/ops/reduction.ts'
import { input, type Tensor } from '../../src/core/graph/tensor.ts'
import { parameterSpecs, routedModules, SymbolicParameters } from '../../src/core/model/parameters.ts'
import { hashTableOf } from '../../src/core/model/routing/hash.ts'
import { losses } from '../../src/core/model/transformer.ts'
import { firstVisible } from '../../src/train/data/first-visible.ts'
import { configForCapacity } from '../../src/train/step/evaluation/capacity-rules.ts'
import { type CaseOverrides, randomCase } from '../witness/generate.ts'
import { type Routed, type WitnessInput, witnessForward } from '../witness/model.ts'
import { type Evaluator, evaluator } from './evaluate.ts'
import { testRandom } from './gradient-check.ts'
import { choicesOf, routedOf } from './routed.ts'

export const routers: Record<string, NonNullable<CaseOverrides['moe']>> = {
  'top-1': { router: 'top-k', k: 1, experts: 4 },
  'top-2': { router: 'top-k', k: 2, experts: 4 },
  'top-3 softmax after, renormalised': { router: 'top-k', k: 3, experts: 5, softmax: 'after', renormalize: true },
  'top-2 renormalised': { router: 'top-k', k: 2, experts: 4, renormalize: true },
  switch: { router: 'switch', k: 1, experts: 3 },
  '2 top-1': { router: 'prototype', prototypes: 2, k: 1, experts: 6 },
  '2 top-2': { router: 'prototype', prototypes: 2, k: 2, experts: 6 },
  'top-3 sequential': { router: 'top-k', k: 3, experts: 5, selection: 'sequential' },
  'sinkhorn top-2': { router: 'sinkhorn', k: 2, experts: 4 },
  'sinkhorn top-1 softmax after': { router: 'sinkhorn', k: 1, experts: 5, softmax: 'after', sinkhornIterations: 3 },
  'bias top-2': { router: 'bias', k: 2, experts: 4 },
  'bias top-2 softmax after': { router: 'bias', k: 2, experts: 4, softmax: 'after' },
  'sigmoid top-2': { router: 'top-k', k: 2, experts: 4, scores: 'sigmoid' },
  'sigmoid 2 top-2 renormalised': {
    ...{ router: 'prototype', prototypes: 2, k: 2, experts: 6 },
    ...{ scores: 'sigmoid', renormalize: true },
  },
  'top-2 of a group (DeepSeek-V2)': {
    ...{ router: 'top-k', k: 2, experts: 6 },
    ...{ expertGroups: 3, routedScale: 1.5 },
  },
  'top-2 of two groups (DeepSeek-V3)': {
    ...{ router: 'bias', k: 2, experts: 6, scores: 'sigmoid', renormalize: true },
    ...{ expertGroups: 3, groupsPerToken: 2, groupScore: 'top-2', routedScale: 2.5 },
  },
  'expert-choice': { router: 'expert-choice', k: 2, experts: 4 },
  hash: { router: 'hash', k: 2, experts: 4 },
  random: { router: 'random', k: 2, experts: 4 },
}

export const base = {
  groups: 1,
  priority: 'position',
  window: 3,
  softmax: 'before',
  renormalize: false,
  prototypes: 1,
} as const

export function caseOf(
  router: string,
  seed: number,
  moe: NonNullable<CaseOverrides['moe']> = {},
  model = {},
): WitnessInput {
  const drawn = randomCase(seed, { moe: { ...base, ...routers[router], ...moe }, model, batch: 2 })
  const settings = drawn.config.moe
  if (settings?.router !== 'hash') return drawn
  // Our hash router has its own tables; the witness gets their choices.
  const choices = new Map<Routed, Int32Array>()
  for (let layer = 0; layer < drawn.config.layers; layer++)
    for (const module of routedModules(drawn.config, layer)) {
      const table = hashTableOf(drawn.config, layer, module)
      const rows = Array.from(drawn.tokens, (v) => [...table.subarray(v * settings.k, (v + 1) * settings.k)])
      choices.set(routedOf({ layer, module }), Int32Array.from(rows.flat()))
    }
  return { ...drawn, choices }
}

interface Compiled {
  readonly program: Evaluator
  /** The parameters that the program reads: name in the witness, expert that it is a view of, and name of the input. */
  readonly parameters: readonly { readonly witness: string; readonly expert: number | null; readonly name: string }[]
}

/** The results of all sigmoids that a tensor is computed from. */
function sigmoidsOf(result: Tensor): Tensor[] {
  const seen = new Set<Tensor['source']>()
  const found: Tensor[] = []
  const visit = (tensor: Tensor): void => {
    const { source } = tensor
    if (source.kind !== 'node' || seen.has(source)) return
    seen.add(source)
    if (source.type === 'Sigmoid') found.push(tensor)
    source.inputs.forEach(visit)
  }
  visit(result)
  return found
}

/** Whether a router has no scores, so that its choices are always given. */
const isUnscored = (router: string | undefined): boolean => router === 'hash' || router === 'random'

/** Compiles the model of a case; without gradients this takes half the time. */
export async function compile(given: WitnessInput, dtype: 'float32' | 'float64', gradients: boolean) {
  const { tokens, batch, training, separator, capacity = training ? 'train' : 'eval' } = given
  const config = configForCapacity(given.config, capacity)
  const parameters = new SymbolicParameters(parameterSpecs(config), dtype)
  const tokens_T = input('tokens', 'int32', [tokens.length])
  const targets_T = input('targets', 'int32', [tokens.length])
  const result = losses(config, parameters, tokens_T, targets_T, {
    batch,
    sequence: config.sequence,
    training,
    capacity,
    replay: given.choices !== undefined && !isUnscored(config.moe?.router),
    ...(separator !== undefined && { firstVisible_T: input('first', 'int32', [tokens.length]) }),
  })
  const outputs: Record<string, Tensor> = { loss: result.loss, objective: result.objective }
  for (const report of result.reports) {
    const { count_N, kept_N, unserved, gate, losses: router } = report
    const routed = routedOf(report)
    outputs[`count ${routed}`] = count_N
    outputs[`kept ${routed}`] = kept_N
    outputs[`gate ${routed}`] = gate
    if (unserved) outputs[`unserved ${routed}`] = unserved
    if (router) {
      outputs[`balance ${routed}`] = router.balance
      outputs[`z ${routed}`] = router.z
      outputs[`entropy ${routed}`] = router.entropy
    }
  }
  if (gradients)
    gradient(
      result.objective,
      parameters.used.map(({ tensor }) => tensor),
    ).forEach((tensor, i) => {
      outputs[`gradient ${i}`] = tensor
    })
  // ONNX Runtime makes x · σ(x) an op that it has for float32 alone, except where σ(x) has another use, as in gradients.
  else for (const [i, sigmoid] of sigmoidsOf(result.objective).entries()) outputs[`sigmoids ${i}`] = sum(sigmoid)
  const compiled: Compiled = {
    program: await evaluator(outputs),
    parameters: parameters.used.map(({ spec, expert, tensor }) => ({
      witness: spec.name.replace('.{e}', ''),
      expert,
      name: tensor.source.kind === 'input' ? tensor.source.name : '',
    })),
  }
  return compiled
}

/** The values of a parameter, or of one expert's part of it. */
function valuesOf({ parameters }: WitnessInput, name: string, expert: number | null): Float64Array {
  const { shape, data } = parameters.get(name) as { shape: readonly number[]; data: Float64Array }
  if (expert === null) return data
  const size = data.length / (shape[0] as number)
  return data.subarray(expert * size, (expert + 1) * size)
}

export function run({ program, parameters }: Compiled, given: WitnessInput): Record<string, number[]> {
  const { buffers } = program
  const set = (name: string, values: ArrayLike<number>) => (buffers[name] as Float64Array | undefined)?.set(values)
  set('tokens', given.tokens)
  set('targets', given.targets)
  const { tokens, config, separator } = given
  if (separator !== undefined) firstVisible(tokens, config.sequence, separator, buffers.first as Int32Array)
  for (const [routed, choices] of given.choices ?? []) set(choicesOf(routed), choices)
  for (const { name, witness, expert } of parameters) set(name, valuesOf(given, witness, expert))
  program.run()
  return Object.fromEntries(Object.entries(buffers).map(([name, buffer]) => [name, Array.from(buffer, Number)]))
}

export const close = (actual: number | undefined, expected: number, tolerance: number) =>
  expect(
    Math.abs((actual ?? Number.NaN) - expected) / (1 + Math.abs(expected)),
    `${actual}, expected ${expected}`,
  ).toBeLessThan(tolerance)

/** Expects that a run has the losses and statistics of the witness. */
function expectForward(result: Record<string, number[]>, given: WitnessInput, tolerance: number): void {
  const truth = witnessForward(given)
  close(result.loss?.[0], truth.loss, tolerance)
  close(result.objective?.[0], truth.total, tolerance)
  for (const [layer, statistics] of truth.layers) {
    expect(result[`count ${layer}`]).toEqual(statistics.counts)
    expect(result[`kept ${layer}`]).toEqual(statistics.kept)
    close(result[`unserved ${layer}`]?.[0] ?? 0, statistics.unserved, tolerance)
    close(result[`gate ${layer}`]?.[0], statistics.gate, tolerance)
    if (!result[`balance ${layer}`]) continue
    close(result[`balance ${layer}`]?.[0], statistics.balance, tolerance)
    close(result[`z ${layer}`]?.[0], statistics.zLoss, tolerance)
    close(result[`entropy ${layer}`]?.[0], statistics.entropy, tolerance)
  }
}

/** Compares losses and statistics with the witness. */
export async function compare(given: WitnessInput, dtype: 'float32' | 'float64', tolerance: number): Promise<void> {
  const compiled = await compile(given, dtype, false)
  const result = run(compiled, given)
  compiled.program.release()
  expectForward(result, given, tolerance)
}

/** Compares losses, statistics, and the gradient of every parameter along a random direction with the witness. */
export async function compareWithGradient(given: WitnessInput, seed: number): Promise<void> {
  const compiled = await compile(given, 'float64', true)
  const result = run(compiled, given)
  compiled.program.release()
  expectForward(result, given, 1e-7)
  const random = testRandom(seed)
  for (const [i, { witness, expert }] of compiled.parameters.entries()) {
    const values = valuesOf(given, witness, expert)
    const before = values.slice()
    // The direction has length 1, as if it were one element, and every element takes part.
    const drawn = before.map(() => random() * 2 - 1)
    const length = Math.hypot(...drawn)
    const direction = drawn.map((value) => value / length)
    const step = 1e-6
    const at = (distance: number): number => {
      values.set(before.map((value, j) => value + distance * (direction[j] as number)))
      return witnessForward(given).total
    }
    const slope = (at(step) - at(-step)) / (2 * step)
    values.set(before)
    const gradients = result[`gradient ${i}`] ?? []
    const along = direction.reduce((total, value, j) => total + value * (gradients[j] ?? Number.NaN), 0)
    // The scales of matmuls are rounded to float32: see test/model.test.ts.
    close(along, slope, 3e-6)
  }
}

export const layouts = [
  [1, 'padded'],
  [2, 'ragged'],
] as const
