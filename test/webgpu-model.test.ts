/**
 * Training steps on a WebGPU device against the CPU: loss, counts of every router and every gradient, then losses and
 * parameters after updates by both optimizers. A different choice of an expert is not a rounding error.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type RunConfig, runSchema } from '../src/config/run-config.ts'
import { readRange } from '../src/runtime/arena.ts'
import type { Runtime } from '../src/runtime/contract.ts'
import { createRuntime } from '../src/runtime/cpu-runtime.ts'
import { createDeviceRuntime } from '../src/runtime/webgpu/runtime.ts'
import { testDevice } from '../src/runtime/webgpu/testing/run-kernel.ts'
import { initialize, initialScales } from '../src/step/initialize.ts'
import { createStore, Trainer } from '../src/step/trainer.ts'
import { attentionSettings } from './support/attention-settings.ts'
import { testRandom } from './support/gradient-check.ts'
import { expectNear } from './support/kernel-check.ts'
import { routers } from './support/model-check.ts'

/** A software device compiles a pipeline in a second. */
const timeout = 300_000

/** Rounding of float32 in two layers and their gradient. */
const TOLERANCE = 5e-5
/** Errors are relative to at least this. */
const FLOOR = 1e-3

const [batch, sequence] = [4, 16]
const sizes = { vocabulary: 64, layers: 1, width: 16, heads: 2, sequence, hidden: 16, positions: 'rotary' } as const

const configOf = (moe: object | null, { model = {}, train = {}, data = {} } = {}): RunConfig =>
  runSchema.parse({
    model: { ...sizes, ...model, moe: moe && { hidden: 16, capacity: 'kx', ...moe } },
    train: { batch, steps: 8, schedule: { warmup: 1 }, ...train },
    data,
  })

/** Losses, and what is in the store after the first and the last step. */
async function train(runtime: Runtime, config: RunConfig, steps: number, separator?: number) {
  const store = createStore(runtime, config)
  const trainer = await Trainer.compile(runtime, config, store, separator)
  await initialize(store, config.train.seed, initialScales(config))
  const random = testRandom(7)
  const ids = () => Int32Array.from({ length: batch * sequence }, () => Math.floor(random() * sizes.vocabulary))
  const outcomes = []
  const gradients = new Map<string, Float32Array>()
  for (let step = 1; step <= steps; step++) {
    const { loss, gradNorm, layers, skipped } = await trainer.step(step, { tokens: ids(), targets: ids() })
    outcomes.push({ loss, gradNorm, skipped, counts: layers.flatMap(({ tokens, kept }) => [...tokens, ...kept]) })
    if (step === 1)
      for (const { name } of store.specs) gradients.set(name, (await readRange(store.gradient(name))).slice())
  }
  const parameters = new Map<string, Float32Array>()
  for (const { name } of store.specs) parameters.set(name, (await readRange(store.parameter(name))).slice())
  await trainer.release()
  return { outcomes, gradients, parameters }
}

describe.skipIf(testDevice === null)('a WebGPU device trains like the CPU', () => {
  let cpu: Runtime
  let gpu: Runtime
  beforeAll(async () => {
    cpu = await createRuntime({ threads: 1 })
    gpu = createDeviceRuntime(testDevice as NonNullable<typeof testDevice>)
  })
  afterAll(async () => {
    await cpu.close()
    await gpu.close()
  })

  async function compare(config: RunConfig, steps = 2, separator?: number): Promise<void> {
    const expected = await train(cpu, config, steps, separator)
    const found = await train(gpu, config, steps, separator)
    for (const [i, outcome] of expected.outcomes.entries()) {
      const other = found.outcomes[i] as typeof outcome
      expect(other.counts, `counts of step ${i + 1}`).toEqual(outcome.counts)
      expect(other.skipped).toBe(outcome.skipped)
      expectNear(
        Float32Array.of(other.loss, other.gradNorm),
        [outcome.loss, outcome.gradNorm],
        TOLERANCE,
        `step ${i + 1}`,
      )
    }
    for (const [name, gradient] of expected.gradients) {
      expectNear(found.gradients.get(name) as Float32Array, gradient, TOLERANCE, `gradients ${name}`, FLOOR)
      const parameter = expected.parameters.get(name) as Float32Array
      const other = found.parameters.get(name) as Float32Array
      // AdamW divides a gradient by its size, so that of a gradient which is all rounding the update is too.
      const least = 100 * TOLERANCE * gradient.reduce((most, g) => Math.max(most, Math.abs(g)), FLOOR)
      const compared = other.map((value, i) => {
        const g = Math.abs(gradient[i] as number)
        return g > 0 && g < least ? (parameter[i] as number) : value
      })
      expectNear(compared, parameter, TOLERANCE, `parameters ${name}`, FLOOR)
    }
  }

  for (const [name, moe] of Object.entries(routers)) test(name, { timeout }, () => compare(configOf(moe)))

  test('a dense model with layer norm, learned positions, SwiGLU and a tied head', { timeout }, () =>
    compare(configOf(null, { model: { norm: 'layer', positions: 'learned', activation: 'swiglu', tied: true } })),
  )

  test.each([false, true])('a shared expert beside routed ones of SwiGLU, with a gate: %s', { timeout }, (sharedGate) =>
    compare(configOf({ k: 2, experts: 4, sharedHidden: 16, sharedGate }, { model: { activation: 'swiglu' } })),
  )

  test('experts in attention', { timeout }, () => compare(configOf({ k: 1, experts: 4, attention: 'all' })))

  test('norms of queries and keys over all heads', { timeout }, () =>
    compare(configOf(null, { model: attentionSettings['norms over all heads'] ?? {} })),
  )

  test('all settings of attention at once, with windows in documents', { timeout }, () => {
    const model = { ...attentionSettings['all at once'], layers: 1, fullEvery: 0 }
    return compare(configOf(null, { model, data: { crossDocuments: false } }), 2, 5)
  })

  test.each([
    { capacity: '1x', priority: 'choice' },
    { capacity: 'kx', priority: 'token', groups: 2 },
    { capacity: 'kx', priority: 'gate' },
    { capacity: 'none' },
  ])('capacity and priority: %o', { timeout }, (moe) => compare(configOf({ ...moe, k: 2, experts: 4, factor: 1 })))

  test('documents that attention does not cross', { timeout }, () =>
    compare(configOf({ experts: 4 }, { data: { crossDocuments: false } }), 2, 5),
  )

  test('micro-batches, clipping and Adafactor', { timeout }, () =>
    compare(configOf({ experts: 4 }, { train: { microBatches: 2, optimizer: { kind: 'adafactor', clip: 0.1 } } }), 4),
  )

  const batchOf = (target = 0) => ({
    tokens: new Int32Array(batch * sequence),
    targets: new Int32Array(batch * sequence).fill(target),
  })

  test.each([{ k: 2 }, { router: 'bias', k: 2 }])(
    'a step is one submit and one readback: %o',
    { timeout },
    async (moe) => {
      const config = configOf({ ...moe, experts: 4 })
      const store = createStore(gpu, config)
      const trainer = await Trainer.compile(gpu, config, store)
      await initialize(store, 1, initialScales(config))
      await trainer.step(1, batchOf())
      const { queue } = (testDevice as NonNullable<typeof testDevice>).gpu
      const submit = vi.spyOn(queue, 'submit')
      const map = vi.spyOn(GPUBuffer.prototype, 'mapAsync')
      await trainer.step(2, batchOf())
      expect([submit, map].map(({ mock }) => mock.calls.length)).toEqual([1, 1])
      vi.restoreAllMocks()
      await trainer.release()
    },
  )

  test('a loss that is not finite skips the update, though all gradients are', { timeout }, async () => {
    for (const microBatches of [1, 2]) {
      const config = configOf({ router: 'bias', k: 2, experts: 4 }, { train: { microBatches } })
      const store = createStore(gpu, config)
      const trainer = await Trainer.compile(gpu, config, store)
      await initialize(store, 1, initialScales(config))
      const all = async () => {
        const ranges = store.specs.map(({ name }) => readRange(store.parameter(name)))
        return (await Promise.all(ranges)).map((values) => values.slice())
      }
      const before = await all()
      // A target outside the vocabulary has a loss of NaN, in one of the passes.
      for (const place of [0, batch * sequence - 1]) {
        const wrong = batchOf()
        wrong.targets[place] = sizes.vocabulary
        const { loss, gradNorm, skipped } = await trainer.step(1, wrong)
        expect({ loss, isFinite: Number.isFinite(gradNorm), skipped }).toEqual({
          loss: Number.NaN,
          isFinite: true,
          skipped: true,
        })
        expect(trainer.updates).toBe(0)
        expect(await all()).toEqual(before)
      }
      expect((await trainer.step(1, batchOf())).skipped).toBe(false)
      expect(await all()).not.toEqual(before)
      await trainer.release()
    }
  })

  test('the same bits in two trainings', { timeout }, async () => {
    const config = configOf({ k: 2, experts: 4 })
    expect(await train(gpu, config, 2)).toEqual(await train(gpu, config, 2))
  })
})
