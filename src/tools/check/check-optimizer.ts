/**
 * Checks of an optimizer of the user's own, on a small model with random parameters and gradients: its update is
 * computed as a training computes it, from the arenas of a store.
 */
import { median } from '../../core/averages.ts'
import { type RunConfig, runSchema } from '../../core/config/run-config.ts'
import { randomFor } from '../../core/random.ts'
import { significant } from '../../core/text/numbers.ts'
import { floatsOf } from '../../engine/contract/arena.ts'
import type { Gate } from '../../engine/contract/arena-kernels.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { ADAMW_MOMENTS, adamw } from '../../train/step/optimizer/adamw.ts'
import type { Optimizer } from '../../train/step/optimizer/contract.ts'
import { isUpdated } from '../../train/step/optimizer/own-rule.ts'
import { ownUpdate } from '../../train/step/optimizer/own-update.ts'
import { ParameterStore } from '../../train/step/store/store.ts'
import { createStore } from '../../train/step/trainer.ts'
import type { Check, PluginCheck } from './check.ts'
import type { Runtimes } from './check-router.ts'

/** @param own Name and hash of a registered optimizer. @throws UsageError if it returns something else than its tensors */
export async function checkOptimizerRule(own: string, { one, two }: Runtimes): Promise<PluginCheck> {
  const checks = [
    await checkFinite(own, one),
    await checkRepeated(own, one, two),
    await reportZeroGradient(own, one),
    await checkQuadratic(own, one),
  ]
  return { part: 'optimizer', id: own, checks, time: { over: 'AdamW', ratio: await timeOverAdamw(own, two) } }
}

/** A model with a parameter of every role, a dense and a sparse layer. */
const configOf = (own: string, width = 16, weightDecay = 0.1): RunConfig =>
  runSchema.parse({
    model: {
      ...{ layers: 2, width, heads: 2, hidden: 2 * width, vocabulary: 300, sequence: 16 },
      ...{ tied: false, positions: 'learned', norm: 'layer', attentionBias: 'all' },
      moe: { experts: 2, hidden: width, from: 1 },
    },
    data: { tokenizer: { kind: 'bytes' } },
    train: { optimizer: { kind: 'own', own, weightDecay } },
  })

const open: Gate = { norm: 1, scale: 1, isOpen: true }

/** The parameters of a small model, and an optimizer of them. */
interface Bench {
  readonly names: readonly string[]
  readonly store: ParameterStore
  readonly optimizer: Optimizer
}

async function withBench<T>(config: RunConfig, runtime: Runtime, body: (bench: Bench) => Promise<T>): Promise<T> {
  const store = createStore(runtime, config)
  const optimizer = await ownUpdate(runtime, store, config.train)
  try {
    return await body({ names: store.specs.filter(isUpdated).map(({ name }) => name), store, optimizer })
  } finally {
    for (const program of optimizer.programs ?? []) program.release()
  }
}

const parametersOf = ({ names, store }: Bench) => names.map((name) => floatsOf(store.parameter(name)))
const gradientsOf = ({ names, store }: Bench) => names.map((name) => floatsOf(store.gradient(name)))
const statesOf = ({ optimizer }: Bench) => optimizer.stateTensors().map(({ range }) => floatsOf(range))

/** Fills arrays with numbers from −size to size. */
function fill(arrays: readonly Float32Array[], seed: number, size = 1): void {
  const random = randomFor(seed, 'check')
  for (const values of arrays) for (const i of values.keys()) values[i] = size * (2 * random.uniform() - 1)
}

/** Does updates with random gradients, from random parameters. */
async function updates(bench: Bench, count: number, size = 1): Promise<void> {
  fill(parametersOf(bench), 1, 0.1)
  for (let step = 1; step <= count; step++) {
    fill(gradientsOf(bench), 1 + step, size)
    await bench.optimizer.update({ step, learningRate: 1e-3 }, open)
  }
}

async function checkFinite(own: string, runtime: Runtime): Promise<Check> {
  const name = 'parameters and state keep their shapes, and stay finite with gradients of any size'
  for (const size of [0, 1e-12, 1, 1e6]) {
    const fault = await withBench(configOf(own), runtime, async (bench) => {
      await updates(bench, 3, size)
      const tensor = bench.names.find((_, i) => !parametersOf(bench)[i]?.every(Number.isFinite))
      const state = bench.optimizer.stateTensors().find(({ range }) => !floatsOf(range).every(Number.isFinite))
      return tensor ?? state?.name
    })
    if (fault !== undefined)
      return { name, passed: false, found: `${fault} is not finite after updates by gradients of about ${size}` }
  }
  return { name, passed: true, found: 'three updates each by gradients of 0, 1e-12, 1 and 1e6' }
}

/** Traces the updates twice, once for each runtime: a number that is drawn while they are traced differs too. */
async function checkRepeated(own: string, one: Runtime, two: Runtime): Promise<Check> {
  const results: { readonly tensors: readonly Float32Array[]; readonly names: readonly string[] }[] = []
  for (const runtime of [one, two])
    results.push(
      await withBench(configOf(own, 64), runtime, async (bench) => {
        await updates(bench, 3)
        const states = bench.optimizer.stateTensors().map(({ name }) => name)
        return {
          tensors: [...parametersOf(bench), ...statesOf(bench)].map((values) => values.slice()),
          names: [...bench.names, ...states],
        }
      }),
    )
  const [first, second] = results
  const other = first?.tensors.findIndex(
    (values, i) => !values.every((value, j) => Object.is(value, second?.tensors[i]?.[j])),
  )
  const passed = other === -1
  return {
    name: 'traced again, and with two threads instead of one, updates have the same bits',
    passed,
    found: passed ? 'three updates of a model of width 64' : `${first?.names[other as number]} differs`,
  }
}

/** Reports what a zero gradient does, which an optimizer may decide: with a momentum, nothing at the start. */
async function reportZeroGradient(own: string, runtime: Runtime): Promise<Check> {
  const largest = await withBench(configOf(own, 16, 0), runtime, async (bench) => {
    fill(parametersOf(bench), 1, 0.1)
    const before = parametersOf(bench).map((values) => values.slice())
    for (let step = 1; step <= 3; step++) await bench.optimizer.update({ step, learningRate: 1e-3 }, open)
    return parametersOf(bench).reduce(
      (most, values, i) =>
        values.reduce((max, value, j) => Math.max(max, Math.abs(value - Number(before[i]?.[j]))), most),
      0,
    )
  })
  return {
    name: 'a gradient of zero without weight decay (only reported)',
    passed: true,
    found:
      largest === 0
        ? 'leaves all parameters as they are'
        : `moves parameters by up to ${significant(largest)} in three updates`,
  }
}

const STEPS = 200

/** Minimizes the sum of squares of the distances from random targets, at the default learning rate. */
async function checkQuadratic(own: string, runtime: Runtime): Promise<Check> {
  const config = configOf(own, 16, 0)
  const { learningRate } = config.train.schedule
  const { first, last } = await withBench(config, runtime, async (bench) => {
    const [parameters, gradients] = [parametersOf(bench), gradientsOf(bench)]
    const targets = parameters.map((values) => new Float32Array(values.length))
    fill(targets, 2, 0.25)
    const loss = () =>
      parameters.reduce(
        (total, values, i) => values.reduce((sum, value, j) => sum + (value - Number(targets[i]?.[j])) ** 2, total),
        0,
      )
    const first = loss()
    for (let step = 1; step <= STEPS; step++) {
      for (const [i, gradient] of gradients.entries())
        for (const j of gradient.keys()) gradient[j] = Number(parameters[i]?.[j]) - Number(targets[i]?.[j])
      await bench.optimizer.update({ step, learningRate }, open)
    }
    return { first, last: loss() }
  })
  return {
    name: `a quadratic loss falls within ${STEPS} steps at the default learning rate ${learningRate}`,
    passed: last < first,
    found: `from ${significant(first)} to ${significant(last)}`,
  }
}

const TURNS = 7

/** Median time of an update, in turns with AdamW. */
async function timeOverAdamw(own: string, runtime: Runtime): Promise<number> {
  const config = configOf(own, 256)
  const kernels = await runtime.createArenaKernels()
  try {
    return await withBench(config, runtime, async (bench) => {
      const store = new ParameterStore(runtime, bench.store.specs, ADAMW_MOMENTS)
      const theirs = { ...bench, store, optimizer: adamw(kernels, store, config.train) }
      const times: [number[], number[]] = [[], []]
      for (const each of [bench, theirs]) fill(gradientsOf(each), 1)
      for (let turn = 1; turn <= TURNS + 2; turn++)
        for (const [i, { optimizer }] of [bench, theirs].entries()) {
          const began = performance.now()
          await optimizer.update({ step: turn, learningRate: 1e-3 }, open)
          if (turn > 2) times[i]?.push(performance.now() - began)
        }
      return median(times[0]) / median(times[1])
    })
  } finally {
    await kernels.close()
  }
}
