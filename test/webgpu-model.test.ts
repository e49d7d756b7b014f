/**
 * Compares settings of the model on a WebGPU device with the CPU: loss, counts of every router and every gradient, and
 * parameters after updates by both optimizers.
 *
 * @slow
 */
import { describe, expect, test, vi } from 'vitest'
import type { RunConfig } from '../src/core/config/run-config.ts'
import { readRange } from '../src/engine/contract/arena.ts'
import type { Device } from '../src/engine/webgpu/device.ts'
import { testDevice } from '../src/engine/webgpu/testing/run-kernel.ts'
import { initialize, initialScales } from '../src/train/step/store/initialize.ts'
import { createStore, Trainer } from '../src/train/step/trainer.ts'
import { attentionSettings } from './support/attention-settings.ts'
import { batch, bothRuntimes, configOf, sequence, sizes, train } from './support/webgpu-training.ts'

describe.skipIf(testDevice === null)('a WebGPU device trains like the CPU', () => {
  const { compare, gpu } = bothRuntimes()

  test('with a dense model of layer norm, learned positions, SwiGLU and a tied head, in documents', () => {
    const model = { norm: 'layer', positions: 'learned', activation: 'swiglu', tied: true }
    return compare(configOf(null, { model, data: { crossDocuments: false } }), 2, 5)
  })

  test.each([
    [{ sharedGate: false }, {}],
    [{ sharedGate: true }, { queryKeyNorm: 'width' }],
  ])('with a shared expert beside routed experts of SwiGLU: %o, attention: %o', (shared, attention) =>
    compare(configOf({ k: 2, sharedHidden: 16, ...shared }, { model: { activation: 'swiglu', ...attention } })),
  )

  test('with experts in attention', () => compare(configOf({ k: 1, attention: 'all' })))

  test('with all settings of attention at once, and windows in documents', () => {
    const model = { ...attentionSettings['all at once'], layers: 1, fullEvery: 0, width: sizes.width }
    return compare(configOf({ k: 2 }, { model, data: { crossDocuments: false } }), 2, 5)
  })

  test.each([
    { capacity: '1x', priority: 'choice' },
    { capacity: 'kx', priority: 'token', groups: 2 },
    { capacity: 'kx', priority: 'gate' },
    { capacity: 'none' },
  ])('with capacity and priority %o', (moe) => compare(configOf({ ...moe, k: 2, factor: 1 })))

  test('with micro-batches, clipping and Adafactor', () => {
    const train = { batch: 2 * batch, microBatches: 2, optimizer: { kind: 'adafactor', clip: 0.1 } }
    return compare(configOf({ k: 2 }, { train }), 4)
  })

  test.each(['adamw', 'adafactor'])('with experts and routers at rates of their own: %s', (kind) => {
    const schedule = { expertRate: 0.3, routerRate: 3, warmup: 1 }
    return compare(configOf({ k: 2 }, { train: { schedule, optimizer: { kind, expertWeightDecay: 2 } } }), 4)
  })

  test('with a balancing loss that fades out', () => {
    const schedule = { finalBalance: 0, warmup: 1 }
    const train = { steps: 3, batch: 2 * batch, microBatches: 2, schedule }
    return compare(configOf({ k: 2, balance: { coefficient: 0.5 } }, { train }), 3)
  })

  const batchOf = (config: RunConfig) => ({
    tokens: new Int32Array(config.train.batch * sequence),
    targets: new Int32Array(config.train.batch * sequence),
  })

  test.each([{ k: 2 }, { router: 'bias', k: 2 }])('a step is one submit and one readback: %o', async (moe) => {
    const config = configOf(moe)
    const store = createStore(gpu(), config)
    const trainer = await Trainer.compile(gpu(), config, store)
    await initialize(store, 1, initialScales(config))
    await trainer.step(1, batchOf(config))
    const { queue } = (testDevice as Device).gpu
    const submit = vi.spyOn(queue, 'submit')
    const map = vi.spyOn(GPUBuffer.prototype, 'mapAsync')
    await trainer.step(2, batchOf(config))
    expect([submit, map].map(({ mock }) => mock.calls.length)).toEqual([1, 1])
    vi.restoreAllMocks()
    await trainer.release()
  })

  test('a loss that is not finite skips the update, though all gradients are finite', async () => {
    for (const microBatches of [1, 2]) {
      const config = configOf({ router: 'bias', k: 2 }, { train: { batch: microBatches * batch, microBatches } })
      const store = createStore(gpu(), config)
      const trainer = await Trainer.compile(gpu(), config, store)
      await initialize(store, 1, initialScales(config))
      const all = async () => {
        const ranges = store.specs.map(({ name }) => readRange(store.parameter(name)))
        return (await Promise.all(ranges)).map((values) => values.slice())
      }
      const before = await all()
      // A target outside the vocabulary has a loss of NaN, in one of the passes.
      for (const place of [0, config.train.batch * sequence - 1]) {
        const wrong = batchOf(config)
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
      expect((await trainer.step(1, batchOf(config))).skipped).toBe(false)
      expect(await all()).not.toEqual(before)
      await trainer.release()
    }
  })

  test('two trainings have the same bits', async () => {
    const config = configOf({ k: 2 })
    expect(await train(gpu(), config, 2)).toEqual(await train(gpu(), config, 2))
  })
})
