/** A training step on a runtime that defers, like a device, has the same results as on a CPU. */
import { expect, test } from 'vitest'
import { type RunConfig, runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import { readRange } from '../../engine/contract/arena.ts'
import type { ArenaKernels, Gate } from '../../engine/contract/arena-kernels.ts'
import type { Binding, Executable, Runtime } from '../../engine/contract/runtime.ts'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import { initialize, initialScales } from './store/initialize.ts'
import { parameterTensors } from './store/named-tensors.ts'
import { createStore, type StepOutcome, Trainer } from './trainer.ts'

const STEPS = 5

/** An object with some of its members replaced. */
function override<T extends object>(object: T, members: Partial<T>): T {
  return new Proxy(object, {
    get(target, name) {
      const value: unknown = Reflect.get(name in members ? members : target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/**
 * A runtime whose enqueued work waits until `synchronize`, a run, or a read or write; reads of an arena return copies.
 */
function deferring(runtime: Runtime): Runtime {
  const queue: (() => Promise<unknown>)[] = []
  const synchronize = async () => {
    for (let work = queue.shift(); work; work = queue.shift()) await work()
  }
  const enqueue = async (work: () => Promise<unknown>) => {
    queue.push(work)
  }
  const deferred = (binding: Binding): Binding =>
    override(binding, {
      async enqueue(options) {
        queue.push(() => binding.run(options))
        return { tickets: [], waitedMs: 0 }
      },
      async run(options) {
        await synchronize()
        return binding.run(options)
      },
    })
  const deferredKernels = (kernels: ArenaKernels): ArenaKernels =>
    override(kernels, {
      async gate(ranges, options) {
        const gate: Gate = { norm: Number.NaN, scale: Number.NaN, isOpen: false }
        queue.push(async () => Object.assign(gate, await kernels.gate(ranges, options)))
        return gate
      },
      adamw: (...args) => enqueue(() => kernels.adamw(...args)),
      adafactor: (...args) => enqueue(() => kernels.adafactor(...args)),
      balance: (...args) => enqueue(() => kernels.balance(...args)),
      add: (...args) => enqueue(() => kernels.add(...args)),
      scatterAddRows: (...args) => enqueue(() => kernels.scatterAddRows(...args)),
    })
  return override(runtime, {
    defers: true,
    synchronize,
    compile: async (...program) => {
      const executable: Executable = await runtime.compile(...program)
      return override(executable, { bind: (...memory) => deferred(executable.bind(...memory)) })
    },
    createArena(bytes) {
      const arena = runtime.createArena(bytes)
      return {
        ...arena,
        async read(start, length) {
          await synchronize()
          return (await arena.read(start, length)).slice()
        },
        async write(start, values) {
          await synchronize()
          await arena.write(start, values)
        },
      }
    },
    createArenaKernels: async () => deferredKernels(await runtime.createArenaKernels()),
  })
}

const configOf = (moe: object, train: object = {}, parallel: object = {}): RunConfig =>
  runSchema.parse({
    data: anyVocabulary,
    model: { vocabulary: 64, layers: 2, width: 16, heads: 2, sequence: 8, moe: { experts: 4, hidden: 16, ...moe } },
    train: { batch: 8, steps: STEPS, ...train },
    parallel,
    runtime: { threads: 2 },
  })

interface Trained {
  readonly outcomes: readonly Omit<StepOutcome, 'gradientMs' | 'updateMs'>[]
  readonly updates: number
  readonly tensors: Readonly<Record<string, readonly number[]>>
}

/** Trains some steps; in the third, a parameter is NaN. */
async function train(runtime: Runtime, config: RunConfig): Promise<Trained> {
  const store = createStore(runtime, config)
  const trainer = await Trainer.compile(runtime, config, store)
  await initialize(store, 1, initialScales(config))
  const outcomes: Trained['outcomes'][number][] = []
  const norm = store.parameter('norm')
  for (let step = 1; step <= STEPS; step++) {
    const healthy = (await readRange(norm)).slice()
    if (step === 3)
      await norm.arena.write(
        norm.start,
        healthy.map(() => Number.NaN),
      )
    const tokens = Int32Array.from({ length: 64 }, (_, t) => (t * 7 + step * 13) % 64)
    const outcome = await trainer.step(step, { tokens, targets: tokens.map((token) => (token * 5 + 1) % 64) })
    const { gradientMs, updateMs, ...rest } = outcome
    expect(gradientMs).toBeGreaterThan(0)
    if (runtime.defers) expect(updateMs).toBe(0)
    outcomes.push(rest)
    if (step === 3) await norm.arena.write(norm.start, healthy)
  }
  const tensors: Record<string, number[]> = {}
  for (const { name, range } of [...parameterTensors(store), ...trainer.optimizer.stateTensors()])
    tensors[name] = [...(await readRange(range))]
  await trainer.release()
  return { outcomes, updates: trainer.updates, tensors }
}

test.each([
  ['AdamW, clipped', configOf({}, { optimizer: { clip: 0.1 } })],
  ['Adafactor, random experts', configOf({ router: 'random', k: 2 }, { optimizer: { kind: 'adafactor' } })],
  ['biases, two passes', configOf({ router: 'bias' }, { microBatches: 2 })],
  ['four shards of two passes', configOf({ k: 2 }, { microBatches: 2 }, { shards: 4 })],
  ['experts and routers at rates of their own', configOf({}, { schedule: { expertRate: 0.3, routerRate: 3 } })],
  [
    'a balancing loss that fades out',
    configOf({ balance: { coefficient: 0.5 } }, { microBatches: 2, schedule: { finalBalance: 0 } }),
  ],
  ['routers that stop learning', configOf({}, { routerSteps: 2 })],
])('losses, norms, parameters and moments are the same, and the same step is skipped: %s', async (_, config) => {
  const runtime = await createRuntime({ threads: 2 })
  try {
    const expected = await train(runtime, config)
    expect(expected.outcomes.map(({ skipped }) => skipped)).toEqual([false, false, true, false, false])
    expect(expected.updates).toBe(4)
    expect(await train(deferring(runtime), config)).toEqual(expected)
  } finally {
    await runtime.close()
  }
})
