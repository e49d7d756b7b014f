/**
 * Compares the whole model with kernels, in float32, with the whole model without kernels, in float64: loss, statistics
 * and the gradient of every parameter, for every router and every setting that uses other kernels.
 *
 * @slow
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { multiply } from '../src/core/graph/ops/elementwise.ts'
import { gradient } from '../src/core/graph/ops/gradient.ts'
import type { Program } from '../src/core/graph/program.ts'
import { sizeOf } from '../src/core/graph/shape.ts'
import { cut } from '../src/core/graph/stages/cut.ts'
import { constant, input, type Tensor, withKernels } from '../src/core/graph/tensor.ts'
import { type ParameterSpec, parameterSpecs, SymbolicParameters } from '../src/core/model/parameters.ts'
import { losses } from '../src/core/model/transformer.ts'
import { floatsOf } from '../src/engine/contract/arena.ts'
import type { ArenaKernels } from '../src/engine/contract/arena-kernels.ts'
import type { Runtime } from '../src/engine/contract/runtime.ts'
import { createRuntime } from '../src/engine/cpu/cpu-runtime.ts'
import { createArenaKernels } from '../src/engine/cpu/wasm/arena-kernels.ts'
import { cpuMemory } from '../src/engine/testing/cpu-memory.ts'
import { GradientProgram, gradientScratch } from '../src/train/step/passes/gradient-program.ts'
import { ParameterStore } from '../src/train/step/store/store.ts'
import { attentionSettings } from './support/attention-settings.ts'
import { expectNear, kernelsOf, runOnce, type Values } from './support/kernel-check.ts'
import { choicesOf, routedOf } from './support/routed.ts'
import { type CaseOverrides, randomCase } from './witness/generate.ts'
import type { WitnessInput } from './witness/model.ts'

/** Tolerance for values that go through a few layers of float32 sums. */
const TOLERANCE = 1e-4

type Moe = NonNullable<CaseOverrides['moe']>
const routers: Record<string, Moe> = {
  'top-1': { router: 'top-k', k: 1, experts: 4 },
  'top-2, renormalised': { router: 'top-k', k: 2, experts: 5, renormalize: true },
  'top-3, softmax after': { router: 'top-k', k: 3, experts: 5, softmax: 'after' },
  switch: { router: 'switch', k: 1, experts: 3 },
  '2 top-2': { router: 'prototype', prototypes: 2, k: 2, experts: 6 },
  'sinkhorn top-2': { router: 'sinkhorn', k: 2, experts: 4 },
  'bias top-2': { router: 'bias', k: 2, experts: 4 },
  'bias top-2 of sigmoids in two of three groups': {
    ...{ router: 'bias', k: 2, experts: 6, scores: 'sigmoid', renormalize: true, routedScale: 2.5 },
    ...{ expertGroups: 3, groupsPerToken: 2, groupScore: 'top-2' },
  },
  'expert-choice': { router: 'expert-choice', k: 2, experts: 4, capacity: 'kx', priority: 'position' },
  'top-3, sequential': { router: 'top-k', k: 3, experts: 5, selection: 'sequential' },
  hash: { router: 'hash', k: 2, experts: 4 },
  random: { router: 'random', k: 2, experts: 4 },
}

const model = { vocabulary: 19, layers: 1, width: 12, heads: 2, sequence: 9, hidden: 10, positions: 'rotary' } as const
const base = {
  hidden: 7,
  groups: 1,
  sharedHidden: 0,
  every: 1,
  capacity: 'kx',
  factor: 0.9,
  priority: 'position',
  window: 4,
} as const

/** Variations of the base settings, one at a time. */
const settings: Record<string, CaseOverrides> = {
  plain: {},
  'capacity 1x, padded': { moe: { capacity: '1x', factor: 1.1, compute: 'padded' } },
  'dropless, ragged': { moe: { capacity: 'none', compute: 'ragged' } },
  'groups and priority by gate': { moe: { groups: 2, priority: 'gate' } },
  'a shared expert, dense layers between': { model: { layers: 2 }, moe: { sharedHidden: 5, every: 2 } },
  'a shared expert with a gate': { moe: { sharedHidden: 5, sharedGate: true } },
  'experts of queries, keys and values': { moe: { attention: 'qkv' } },
  'learned positions, layer norm, untied': { model: { positions: 'learned', norm: 'layer', tied: false } },
  'an odd head, tied': { model: { positions: 'learned', heads: 4, tied: true } },
}

const sizesOf = (
  { model: ofModel, moe: ofMoe, ...rest }: CaseOverrides,
  router: Moe,
  activation: 'gelu' | 'swiglu',
) => ({
  batch: 4,
  training: true,
  ...rest,
  model: { ...model, norm: 'rms' as const, tied: false, activation, ...ofModel },
  moe: { ...base, ...ofMoe, ...router } as Moe,
})

/** Traces loss, counts, and the gradient of each parameter, or of single experts if the program reads them singly. */
function trace({ config, tokens, batch }: WitnessInput, dtype: 'float32' | 'float64', parts = 1) {
  const parameters = new SymbolicParameters(parameterSpecs(config), dtype)
  const [tokens_T, targets_T] = ['tokens', 'targets'].map((name) => input(name, 'int32', [tokens.length / parts])) as [
    Tensor,
    Tensor,
  ]
  const pass = { batch: batch / parts, sequence: config.sequence, training: true, capacity: 'train' as const }
  const result = losses(config, parameters, tokens_T, targets_T, pass)
  const outputs: Record<string, Tensor> = {
    loss: result.loss,
    objective: multiply(result.objective, constant(1, dtype)),
  }
  for (const report of result.reports) {
    outputs[`count ${routedOf(report)}`] = report.count_N
    outputs[`kept ${routedOf(report)}`] = report.kept_N
  }
  const { used } = parameters
  gradient(
    result.objective,
    used.map(({ tensor }) => tensor),
  ).forEach((tensor, i) => {
    outputs[`gradient ${i}`] = tensor
  })
  return { program: { outputs } satisfies Program, used }
}

type Traced = ReturnType<typeof trace>

function valuesFor(given: WitnessInput, { used }: Traced, part = 0, parts = 1): Values {
  const piece = <T extends Int32Array>(values: T) =>
    values.slice((part * values.length) / parts, ((part + 1) * values.length) / parts)
  const values: Values = { tokens: piece(given.tokens), targets: piece(given.targets) }
  for (const [routed, choices] of given.choices ?? []) values[choicesOf(routed)] = piece(choices)
  for (const { spec, expert, tensor } of used)
    if (tensor.source.kind === 'input') values[tensor.source.name] = parameterOf(given, spec, expert)
  return values
}

/** A parameter rounded to float32, so that both programs start with the same numbers. */
function parameterOf({ parameters }: WitnessInput, { name }: ParameterSpec, expert: number | null): Float32Array {
  const { shape, data } = parameters.get(name.replace('.{e}', '')) as { shape: readonly number[]; data: Float64Array }
  const size = expert === null ? data.length : data.length / (shape[0] as number)
  return Float32Array.from(data.subarray((expert ?? 0) * size, ((expert ?? 0) + 1) * size))
}

/** Gradients by name of the specification; gradients of single experts are concatenated. */
function gradientsOf({ used }: Traced, results: Values): Map<string, Float64Array> {
  const all = new Map<string, Float64Array>()
  used.forEach(({ spec, expert }, i) => {
    const values = Float64Array.from(results[`gradient ${i}`] as Float64Array)
    const whole = all.get(spec.name) ?? new Float64Array(sizeOf(spec.shape))
    whole.set(values, (expert ?? 0) * values.length)
    all.set(spec.name, whole)
  })
  return all
}

describe('the model with kernels', () => {
  let single: Runtime
  let crew: Runtime
  let arenaKernels: ArenaKernels
  beforeAll(async () => {
    single = await createRuntime({ threads: 1 })
    crew = await createRuntime({ threads: 2 })
    arenaKernels = await createArenaKernels(1)
  })
  afterAll(async () => {
    await Promise.all([crew.close(), single.close(), arenaKernels.close()])
  })

  async function compare(given: WitnessInput): Promise<void> {
    const exact = trace(given, 'float64')
    const traced = withKernels(crew.kernels, () => trace(given, 'float32'))
    const expected = await runOnce(single, exact.program, valuesFor(given, exact))
    const actual = await runOnce(crew, traced.program, valuesFor(given, traced))
    const used = new Set(kernelsOf(cut(traced.program)))
    for (const kernel of [
      'attention',
      'attention-gradient',
      'linear-cross-entropy',
      'matmul',
      'expert-ffn',
      'gather-rows',
    ])
      expect(used, 'kernels of the program').toContain(kernel)
    expect(used.has('expert-linear-gradient')).toBe(given.config.moe?.attention !== 'none')
    for (const [name, values] of Object.entries(expected)) {
      if (name.startsWith('gradient')) continue
      // Counts are integers: a different choice is not a rounding error.
      const tolerance = name === 'loss' || name === 'objective' ? TOLERANCE : 0
      expectNear(actual[name] as Float32Array, values as Float64Array, tolerance, name)
    }
    const gradients = gradientsOf(traced, actual)
    for (const [name, values] of gradientsOf(exact, expected)) {
      expect(
        values.some((value) => value !== 0),
        `${name} has a gradient`,
      ).toBe(!name.endsWith('.router.bias'))
      expectNear(Float32Array.from(gradients.get(name) ?? []), values, TOLERANCE, name, 1e-3)
    }
  }

  // Each router is compared with three settings and both activations, and each setting with about three routers.
  for (const [r, [router, moe]] of Object.entries(routers).entries()) {
    const names = Object.keys(settings)
    const chosen = [0, 1, 2].map((i) => names[(r + 2 * i) % names.length] as string)
    test(`agrees in loss, counts and every gradient by ${router} (${chosen.join('; ')})`, async () => {
      for (const [i, name] of chosen.entries()) {
        const learned = moe.router !== 'hash' && moe.router !== 'random'
        const { moe: own, ...rest } = settings[name] as CaseOverrides
        const ungated = learned ? { ...rest, moe: own } : { ...rest, moe: { ...own, priority: 'token' as const } }
        const activation = i % 2 === 0 ? 'gelu' : 'swiglu'
        await compare(randomCase(10 * r + i, sizesOf(ungated as CaseOverrides, moe, activation))).catch(
          (error: Error) => {
            throw new Error(`${name}, ${activation}: ${error.message}`)
          },
        )
      }
    })
  }

  test.each(Object.entries(attentionSettings))('agrees with attention: %s', async (_, settings) => {
    const moe = { sharedHidden: 5 } as const
    await compare(randomCase(31, sizesOf({ model: settings, moe }, routers['top-2, renormalised'] as Moe, 'swiglu')))
  })

  test('agrees with experts in attention, by every router', async () => {
    for (const [r, [router, moe]] of Object.entries(routers).entries()) {
      const capacity = (['kx', '1x', 'none'] as const)[r % 3] ?? 'kx'
      const over = { model: { layers: 2 }, moe: { attention: 'all', capacity, groups: 1 + (r % 2), priority: 'token' } }
      await compare(randomCase(r + 50, sizesOf(over as CaseOverrides, moe, 'gelu'))).catch((error: Error) => {
        throw new Error(`${router}, ${capacity}: ${error.message}`)
      })
    }
  })

  test('accumulates in place the mean of the separate gradients of micro-batches', async () => {
    for (const [i, name] of ['top-2, renormalised', '2 top-2', 'hash'].entries()) {
      const moe = routers[name] as Moe
      const over = { model: { tied: i % 2 === 0 }, moe: { attention: i === 1 ? 'none' : 'all' } } as const
      const given = randomCase(i + 11, sizesOf(over, moe, i % 2 === 0 ? 'swiglu' : 'gelu'))
      const { config, batch, tokens, targets } = given
      const shape = { batch, microBatches: 2, sequence: config.sequence }
      const store = new ParameterStore(cpuMemory, parameterSpecs(config), 0, gradientScratch(config, shape))
      for (const spec of parameterSpecs(config))
        floatsOf(store.parameter(spec.name)).set(parameterOf(given, spec, null))
      const { coefficient = 0 } = config.moe?.balance ?? {}
      // The balancing coefficient is an input in one case, and a constant in the others.
      const balance = i === 1 ? () => coefficient : undefined
      const setting = { runtime: crew, kernels: arenaKernels, config, store, shape, balance }
      const program = await GradientProgram.compile(setting, 0)
      // The program runs twice, because the second run starts with leftovers of the first.
      for (let run = 0; run < 2; run++) await program.run(1, { tokens, targets })

      const exact = trace(given, 'float64', 2)
      const means = new Map<string, Float64Array>()
      for (const part of [0, 1]) {
        const results = await runOnce(single, exact.program, valuesFor(given, exact, part, 2))
        for (const [key, values] of gradientsOf(exact, results)) {
          const mean = means.get(key) ?? new Float64Array(values.length)
          values.forEach((value, at) => {
            mean[at] = (mean[at] as number) + value / 2
          })
          means.set(key, mean)
        }
      }
      for (const [key, values] of means)
        expectNear(floatsOf(store.gradient(key)), values, TOLERANCE, `${name}: ${key}`, 1e-3)
      program.release()
    }
  })

  test('has the same bits in every compilation and run', async () => {
    const given = randomCase(5, sizesOf({}, routers['2 top-2'] as Moe, 'swiglu'))
    const traced = withKernels(crew.kernels, () => trace(given, 'float32'))
    const first = await runOnce(crew, traced.program, valuesFor(given, traced))
    for (let i = 0; i < 2; i++) expect(await runOnce(crew, traced.program, valuesFor(given, traced))).toEqual(first)
  })
})
