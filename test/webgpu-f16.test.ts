/**
 * Compares training in f16 on a WebGPU device with float32 on the CPU: gradients agree within the rounding of f16, and
 * a short training ends within the spread of seeds. A training that is continued has the same bits.
 *
 * @slow
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RunConfig, runSchema } from '../src/core/config/run-config.ts'
import { anyVocabulary } from '../src/core/config/testing/any-vocabulary.ts'
import type { Program } from '../src/core/graph/program.ts'
import { readRange } from '../src/engine/contract/arena.ts'
import type { Runtime } from '../src/engine/contract/runtime.ts'
import { createRuntime } from '../src/engine/cpu/cpu-runtime.ts'
import { openNodeDevice } from '../src/engine/dawn/node-device.ts'
import { nodeKernels } from '../src/engine/webgpu/kernels/table.ts'
import { lowerProgram } from '../src/engine/webgpu/program/lower-program.ts'
import { createDeviceRuntime } from '../src/engine/webgpu/runtime.ts'
import { testDevice } from '../src/engine/webgpu/testing/run-kernel.ts'
import { initialize, initialScales } from '../src/train/step/store/initialize.ts'
import { createStore, Trainer } from '../src/train/step/trainer.ts'
import { testRandom } from './support/gradient-check.ts'
import { routers } from './support/model-check.ts'

/** A long timeout: a software device compiles a pipeline in one to three seconds. */
const timeout = 300_000

/** Relative error of a rounding to f16. */
const ROUNDING = 2 ** -11

/**
 * Number of roundings between a token and a gradient: about 10 activations on the way to the loss (normed inputs, qkv,
 * results of attention, rows and products of experts), as many on the way back, and a factor of each of 10 products.
 * Their signs are random, so errors add up like steps of a random walk.
 */
const ROUNDINGS = 30

const [batch, sequence, vocabulary] = [4, 16, 64]

/** Heads of attention share keys, are wider than width / heads, and are normed. */
const model = {
  ...{ vocabulary, layers: 1, width: 16, heads: 2, sequence, hidden: 16, positions: 'rotary' },
  ...{ keyValueHeads: 1, headWidth: 16, queryKeyNorm: 'head' },
}

/** Configurations have the same sizes, because a software device compiles kernels for every size. */
const configOf = (
  router: string,
  moe: object = {},
  train: { readonly seed?: number; readonly batch?: number } = {},
): RunConfig =>
  runSchema.parse({
    data: anyVocabulary,
    model: { ...model, moe: { hidden: 16, capacity: 'kx', ...routers[router], experts: 6, ...moe } },
    train: { batch, steps: 30, seed: 1, schedule: { warmup: 1, kind: 'constant', learningRate: 0.01 }, ...train },
  })

/** Batches of a text that can be learned: mostly, a token follows from the one before. */
function* batches(): Generator<{ readonly tokens: Int32Array; readonly targets: Int32Array }> {
  const random = testRandom(7)
  let token = 0
  const next = () => {
    token = random() < 0.9 ? (5 * token + 3) % vocabulary : Math.floor(random() * vocabulary)
    return token
  }
  for (;;) {
    const text = Int32Array.from({ length: batch * sequence + 1 }, next)
    yield { tokens: text.slice(0, -1), targets: text.slice(1) }
  }
}

/** A training and its memory. */
class Training {
  readonly losses: number[] = []
  readonly counts: number[][] = []
  readonly gradNorms: number[] = []
  readonly trainer: Trainer
  readonly store: ReturnType<typeof createStore>
  private readonly batches = batches()

  private constructor(trainer: Trainer, store: ReturnType<typeof createStore>) {
    this.trainer = trainer
    this.store = store
  }

  static async open(runtime: Runtime, config: RunConfig): Promise<Training> {
    const store = createStore(runtime, config)
    const trainer = await Trainer.compile(runtime, config, store)
    await initialize(store, config.train.seed, initialScales(config))
    return new Training(trainer, store)
  }

  async run(steps: number): Promise<this> {
    for (const end = this.losses.length + steps; this.losses.length < end; ) {
      const { value } = this.batches.next()
      const { loss, gradNorm, layers, skipped } = await this.trainer.step(this.losses.length + 1, value)
      expect(skipped).toBe(false)
      this.losses.push(loss)
      this.gradNorms.push(gradNorm)
      this.counts.push(layers.flatMap(({ tokens, kept }) => [...tokens, ...kept]))
    }
    return this
  }

  /** Takes over the state of another training, to continue it. */
  async adopt({ store, trainer, losses }: Training): Promise<void> {
    for (const { name } of store.specs)
      for (const rangeOf of [
        (of: typeof store) => of.parameter(name),
        (of: typeof store) => of.moment(name, 0),
        (of: typeof store) => of.moment(name, 1),
      ]) {
        const to = rangeOf(this.store)
        await to.arena.write(to.start, await readRange(rangeOf(store)))
      }
    this.trainer.updates = trainer.updates
    for (const loss of losses) {
      this.losses.push(loss)
      this.batches.next()
    }
  }

  /** Parameters or gradients by name. */
  async tensors(kind: 'parameter' | 'gradient'): Promise<Map<string, Float32Array>> {
    const all = new Map<string, Float32Array>()
    for (const { name } of this.store.specs) all.set(name, (await readRange(this.store[kind](name))).slice())
    return all
  }
}

const norm = (values: Iterable<number>): number => Math.sqrt([...values].reduce((sum, value) => sum + value * value, 0))
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

describe.skipIf(!testDevice?.features.f16)('training in f16 on a WebGPU device', () => {
  let cpu: Runtime
  let gpu: Runtime
  beforeAll(async () => {
    cpu = await createRuntime({ threads: 1 })
    gpu = createDeviceRuntime(await openNodeDevice(), { math: 'f16' })
  })
  afterAll(async () => {
    await cpu.close()
    await gpu.close()
  })

  test.each([
    ['top-2', {}],
    ['top-2 of two groups (DeepSeek-V3)', { sharedHidden: 16, sharedGate: true }],
    ['expert-choice', {}],
    ['hash', {}],
  ])('gradients differ from float32 by the rounding of f16: %s %o', { timeout }, async (router, shared) => {
    const config = configOf(router, shared)
    const [half, whole] = [await Training.open(gpu, config), await Training.open(cpu, config)]
    const [found, expected] = [await half.run(1), await whole.run(1)]
    expect(found.counts).toEqual(expected.counts)
    const gradients = await found.tensors('gradient')
    // The bias of a router has no gradient.
    const compared = [...(await expected.tensors('gradient'))].filter(([name]) => !name.endsWith('router.bias'))
    const errors = compared.map(([name, values]) => {
      const own = gradients.get(name) as Float32Array
      return { name, error: norm(values.map((value, i) => value - (own[i] as number))) / norm(values) }
    })
    for (const { name, error } of errors) {
      expect(error, name).toBeLessThan(Math.sqrt(ROUNDINGS) * ROUNDING)
      // A smaller error would mean that nothing was rounded.
      expect(error, name).toBeGreaterThan(ROUNDING / 16)
    }
    // The norm is computed from gradients without the scale of the loss.
    expect(found.gradNorms[0]).toBeCloseTo(expected.gradNorms[0] as number, 3)
    await half.trainer.release()
    await whole.trainer.release()
  })

  test('activations need less memory', async () => {
    // In a longer batch activations need the most memory. Its program is planned, and not compiled.
    const { model, ...config } = configOf('top-2', {}, { batch: 8 })
    const longer = { ...config, model: { ...model, sequence: 64 } }
    const bytes = async (math: 'float32' | 'f16'): Promise<number> => {
      let planned = 0
      const compile = async (program: Program) => {
        planned = lowerProgram(program, nodeKernels, math).bytes
        throw new Error('planned')
      }
      const runtime: Runtime = Object.create(gpu, { math: { value: math }, compile: { value: compile } })
      await expect(Training.open(runtime, longer)).rejects.toThrow('planned')
      return planned
    }
    expect(await bytes('f16')).toBeLessThan(0.7 * (await bytes('float32')))
  })

  test('thirty steps end within the spread of seeds of float32', { timeout }, async () => {
    const end = async (runtime: Runtime, seed: number) => {
      const training = await (await Training.open(runtime, configOf('top-2', {}, { seed }))).run(30)
      await training.trainer.release()
      expect(training.losses[0]).toBeGreaterThan(4)
      return mean(training.losses.slice(-5))
    }
    const ends: number[] = []
    for (const seed of [1, 2, 3, 4]) ends.push(await end(cpu, seed))
    const deviation = norm(ends.map((loss) => loss - mean(ends))) / Math.sqrt(ends.length - 1)
    // The training has learned something.
    expect(mean(ends)).toBeLessThan(3)
    expect(Math.abs((await end(gpu, 1)) - (ends[0] as number))).toBeLessThan(deviation)
  })

  test('a number beyond the range of f16 makes a step that is skipped, and changes no parameter', {
    timeout,
  }, async () => {
    const { trainer, store } = await Training.open(gpu, configOf('top-2'))
    const { arena, start } = store.parameter('head')
    await arena.write(start, Float32Array.of(1e5))
    const { value } = batches().next()
    const { skipped, gradNorm } = await trainer.step(1, value)
    expect(skipped).toBe(true)
    expect(gradNorm).not.toSatisfy(Number.isFinite)
    expect((await readRange(store.parameter('head')))[0]).toBe(1e5)
    expect(trainer.updates).toBe(0)
    await trainer.release()
  })

  test('a training that is continued has the bits of an uninterrupted one', { timeout }, async () => {
    const open = () => Training.open(gpu, configOf('top-2'))
    const [whole, first, continued] = [await open(), await open(), await open()]
    await whole.run(4)
    await first.run(2)
    await continued.adopt(first)
    await continued.run(2)
    expect(continued.losses).toEqual(whole.losses)
    expect(await continued.tensors('parameter')).toEqual(await whole.tensors('parameter'))
    for (const { trainer } of [whole, first, continued]) await trainer.release()
  })
})
