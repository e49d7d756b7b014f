/**
 * Settings of the model on a WebGPU device against the CPU: loss, counts of every router and every gradient, then
 * parameters after updates by both optimizers.
 */
import { describe, expect, test, vi } from 'vitest'
import { readRange } from '../src/runtime/arena.ts'
import type { Device } from '../src/runtime/webgpu/device.ts'
import { testDevice } from '../src/runtime/webgpu/testing/run-kernel.ts'
import { initialize, initialScales } from '../src/step/initialize.ts'
import { createStore, Trainer } from '../src/step/trainer.ts'
import { attentionSettings } from './support/attention-settings.ts'
import { batch, bothRuntimes, configOf, sequence, sizes, train } from './support/webgpu-training.ts'

describe.skipIf(testDevice === null)('a WebGPU device trains like the CPU', () => {
  const { compare, gpu } = bothRuntimes()

  test('a dense model with layer norm, learned positions, SwiGLU and a tied head', () =>
    compare(configOf(null, { model: { norm: 'layer', positions: 'learned', activation: 'swiglu', tied: true } })))

  test.each([false, true])('a shared expert beside routed ones of SwiGLU, with a gate: %s', (sharedGate) =>
    compare(configOf({ k: 2, experts: 4, sharedHidden: 16, sharedGate }, { model: { activation: 'swiglu' } })),
  )

  test('experts in attention', () => compare(configOf({ k: 1, experts: 4, attention: 'all' })))

  test('norms of queries and keys over all heads', () =>
    compare(configOf(null, { model: attentionSettings['norms over all heads'] ?? {} })))

  test('all settings of attention at once, with windows in documents', () => {
    const model = { ...attentionSettings['all at once'], layers: 1, fullEvery: 0 }
    return compare(configOf(null, { model, data: { crossDocuments: false } }), 2, 5)
  })

  test.each([
    { capacity: '1x', priority: 'choice' },
    { capacity: 'kx', priority: 'token', groups: 2 },
    { capacity: 'kx', priority: 'gate' },
    { capacity: 'none' },
  ])('capacity and priority: %o', (moe) => compare(configOf({ ...moe, k: 2, experts: 4, factor: 1 })))

  test('documents that attention does not cross', () =>
    compare(configOf({ experts: 4 }, { data: { crossDocuments: false } }), 2, 5))

  test('micro-batches, clipping and Adafactor', () =>
    compare(configOf({ experts: 4 }, { train: { microBatches: 2, optimizer: { kind: 'adafactor', clip: 0.1 } } }), 4))

  const batchOf = (target = 0) => ({
    tokens: new Int32Array(batch * sequence),
    targets: new Int32Array(batch * sequence).fill(target),
  })

  test.each([{ k: 2 }, { router: 'bias', k: 2 }])('a step is one submit and one readback: %o', async (moe) => {
    const config = configOf({ ...moe, experts: 4 })
    const store = createStore(gpu(), config)
    const trainer = await Trainer.compile(gpu(), config, store)
    await initialize(store, 1, initialScales(config))
    await trainer.step(1, batchOf())
    const { queue } = (testDevice as Device).gpu
    const submit = vi.spyOn(queue, 'submit')
    const map = vi.spyOn(GPUBuffer.prototype, 'mapAsync')
    await trainer.step(2, batchOf())
    expect([submit, map].map(({ mock }) => mock.calls.length)).toEqual([1, 1])
    vi.restoreAllMocks()
    await trainer.release()
  })

  test('a loss that is not finite skips the update, though all gradients are', async () => {
    for (const microBatches of [1, 2]) {
      const config = configOf({ router: 'bias', k: 2, experts: 4 }, { train: { microBatches } })
      const store = createStore(gpu(), config)
      const trainer = await Trainer.compile(gpu(), config, store)
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

  test('the same bits in two trainings', async () => {
    const config = configOf({ k: 2, experts: 4 })
    expect(await train(gpu(), config, 2)).toEqual(await train(gpu(), config, 2))
  })
})
