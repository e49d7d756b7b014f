/**
 * A training on several GPUs, one for each rank, has the bits of a training on one of them.
 *
 * @slow
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunConfig } from '../src/core/config/run-config.ts'
import { readRange } from '../src/engine/contract/arena.ts'
import { channels, type Ranks, type Transfer } from '../src/engine/contract/ranks.ts'
import type { Runtime } from '../src/engine/contract/runtime.ts'
import { openNodeDevice } from '../src/engine/dawn/node-device.ts'
import { createDeviceRuntime } from '../src/engine/webgpu/runtime.ts'
import { testDevice } from '../src/engine/webgpu/testing/run-kernel.ts'
import { ranksInProcess } from '../src/engine/world/in-process/ranks.ts'
import { initialize, initialScales } from '../src/train/step/store/initialize.ts'
import { parameterTensors } from '../src/train/step/store/named-tensors.ts'
import type { StepOutcome } from '../src/train/step/trainer.ts'
import { createStore, layoutOf, Trainer } from '../src/train/step/trainer.ts'
import { configOf, sequence, sizes } from './support/webgpu-training.ts'

const SHARDS = 4
const STEPS = 3
const WORLD = 4
/** Number of floats of a block of rows, so few that the rows of a table have several owners. */
const BLOCK_FLOATS = 256

type Math = 'float32' | 'f16'

const shared = (moe: object, train: object = {}): RunConfig => {
  const config = configOf(moe, { train: { batch: 8, ...train } })
  return { ...config, parallel: { ...config.parallel, shards: SHARDS } }
}

function batchOf({ train }: RunConfig, step: number) {
  const tokens = Int32Array.from(
    { length: train.batch * sequence },
    (_, t) => (t * 7 + step * 13 + (t % 5) * 3) % sizes.vocabulary,
  )
  return { tokens, targets: tokens.map((token) => (token * 5 + 1) % sizes.vocabulary) }
}

const numbersOf = ({ loss, gradNorm, skipped, passLosses, layers }: StepOutcome) => {
  return { loss, gradNorm, skipped, passLosses, counts: layers.map(({ tokens, kept }) => [[...tokens], [...kept]]) }
}

/** @param spoiled Step before which a norm of rank 1 becomes NaN; it is whole again after this step. */
async function trainOne(runtime: Runtime, config: RunConfig, ranks: Ranks | null, spoiled = 0) {
  const layout = layoutOf(config, ranks)
  const blockFloats = Math.min(layout.blockFloats, BLOCK_FLOATS)
  const isWhole = !Number.isFinite(layout.blockFloats)
  const store = createStore(runtime, config, isWhole ? layout : { ...layout, blockFloats })
  // With Adafactor on four ranks, the table has relays.
  expect(store.shares.some(({ parts }) => parts.length > 1)).toBe(isWhole && ranks?.size === 4)
  const trainer = await Trainer.compile(runtime, config, store, undefined, ranks)
  await initialize(store, config.train.seed, initialScales(config))
  const steps = []
  for (let step = 1; step <= STEPS; step++) {
    const norm = store.parameter('norm')
    const healthy = await readRange(norm)
    if (step === spoiled && (ranks?.rank ?? 1) === 1) {
      await trainer.settle()
      await norm.arena.write(norm.start, new Float32Array(norm.count).fill(Number.NaN))
    }
    steps.push(numbersOf(await trainer.step(step, batchOf(config, step))))
    if (step === spoiled) await norm.arena.write(norm.start, healthy)
  }
  await trainer.settle()
  const tensors = new Map<string, Float32Array>()
  for (const { name, range } of [...parameterTensors(store), ...trainer.optimizer.stateTensors()])
    tensors.set(name, await readRange(range))
  const { updates } = trainer
  const hasGrown = trainer.passes.some(({ growth }) => growth !== null)
  await trainer.release()
  return { steps, tensors, updates, hasGrown }
}

/** Ranks whose channels are noted when they are used. */
const recording = (ranks: Ranks, used: Set<number>): Ranks => ({
  ...ranks,
  begin(channel, transfers) {
    used.add(channel)
    return ranks.begin(channel, transfers)
  },
})

/** Width of experts whose gradients are worth a transfer during the backward pass. */
const hidden = 48

describe.skipIf(testDevice === null)('ranks with a GPU each', () => {
  const runtimes = new Map<Math, Runtime[]>()
  beforeAll(async () => {
    for (const math of ['float32', 'f16'] as const) {
      if (math === 'f16' && !testDevice?.features.f16) continue
      const all: Runtime[] = []
      for (let rank = 0; rank < WORLD; rank++) all.push(createDeviceRuntime(await openNodeDevice(), { math }))
      runtimes.set(math, all)
    }
  })
  afterAll(async () => {
    for (const runtime of [...runtimes.values()].flat()) await runtime.close()
  })

  async function trainWorld(config: RunConfig, size: number, math: Math, spoiled?: number) {
    const used = new Set<number>()
    const ranks = size === 1 ? [null] : ranksInProcess(size).map((of) => recording(of, used))
    const on = runtimes.get(math) as Runtime[]
    const all = await Promise.all(ranks.map((of, i) => trainOne(on[i] as Runtime, config, of, spoiled)))
    const tensors = new Map<string, Float32Array>()
    for (const trained of all) {
      expect(trained.steps).toEqual(all[0]?.steps)
      for (const [name, values] of trained.tensors) {
        if (tensors.has(name)) expect(tensors.get(name), name).toEqual(values)
        tensors.set(name, values)
      }
    }
    return { steps: all[0]?.steps ?? [], tensors, updates: all[0]?.updates, used }
  }

  const cases: [string, worlds: number[], RunConfig, Math][] = [
    ['top-1, clipped', [2, WORLD], shared({ hidden }, { optimizer: { clip: 0.1 } }), 'float32'],
    [
      'two passes a shard, Adafactor',
      [2, WORLD],
      shared({ k: 2, hidden }, { microBatches: 2, optimizer: { kind: 'adafactor' } }),
      'float32',
    ],
    [
      'biases, routers that stop learning, frozen experts',
      [WORLD],
      shared({ router: 'bias' }, { routerSteps: 1, freeze: ['*.experts.*.up'] }),
      'float32',
    ],
    ['f16', [WORLD], shared({ k: 2 }), 'f16'],
  ]
  test.each(cases.filter(([, , , math]) => math === 'float32' || testDevice?.features.f16))(
    '%s: losses, norms, parameters and moments are bitwise equal to one GPU',
    async (_, worlds, config, math) => {
      const one = await trainWorld(config, 1, math)
      expect(one.updates).toBe(STEPS)
      expect(one.steps.at(-1)?.loss).toBeLessThan(one.steps[0]?.loss as number)
      for (const size of worlds) {
        const many = await trainWorld(config, size, math)
        expect(many.steps, `${size} ranks`).toEqual(one.steps)
        // Gradients leave during the backward pass if each rank has one shard.
        const isEarly = size === SHARDS && config.model.moe?.hidden === hidden
        expect(many.used.has(channels['early gradients'])).toBe(isEarly)
        expect([...many.tensors.keys()].sort()).toEqual([...one.tensors.keys()].sort())
        for (const [name, values] of one.tensors)
          expect(many.tensors.get(name), `${name}, ${size} ranks`).toEqual(values)
      }
    },
  )

  /** A training whose ranks share experts, each on a GPU of its own. */
  async function trainSharing(config: RunConfig, size: number, expert: number, math: Math) {
    const sharing = { ...config, parallel: { ...config.parallel, expert, headroom: 1 } }
    const world = ranksInProcess(size)
    const on = await Promise.all(
      world.map(async (ranks) => {
        const first = ranks.rank - (ranks.rank % expert)
        const exchange = (transfers: readonly Transfer[]) => ranks.exchange(channels.experts, transfers)
        const group = { first, rank: ranks.rank - first, size: expert, exchange }
        return createDeviceRuntime(await openNodeDevice(), { math, group })
      }),
    )
    try {
      const all = await Promise.all(world.map((ranks, i) => trainOne(on[i] as Runtime, sharing, ranks)))
      const tensors = new Map(all.flatMap((trained) => [...trained.tensors]))
      for (const { steps } of all) expect(steps).toEqual(all[0]?.steps)
      return { steps: all[0]?.steps ?? [], tensors, hasGrown: all.some(({ hasGrown }) => hasGrown) }
    } finally {
      for (const runtime of on) await runtime.close()
    }
  }

  const sharing: [string, layouts: [ranks: number, expert: number][], RunConfig, Math][] = [
    ['top-1', [[4, 2]], shared({ experts: 8 }), 'float32'],
    ['two passes a shard', [[2, 2]], shared({ experts: 8, k: 2 }, { microBatches: 2 }), 'float32'],
    [
      'prototypes in attention too',
      [[4, 4]],
      shared({ experts: 8, router: 'prototype', prototypes: 2, attention: 'all' }),
      'float32',
    ],
    [
      'without a capacity, Adafactor',
      [[4, 2]],
      shared({ experts: 8, capacity: 'none' }, { optimizer: { kind: 'adafactor' } }),
      'float32',
    ],
    ['f16', [[4, 2]], shared({ experts: 8, k: 2 }), 'f16'],
  ]
  test.each(sharing.filter(([, , , math]) => math === 'float32' || testDevice?.features.f16))(
    'ranks that share experts have the bits of one GPU: %s',
    async (_, layouts, config, math) => {
      const one = await trainWorld(config, 1, math)
      for (const [ranks, expert] of layouts) {
        const many = await trainSharing(config, ranks, expert, math)
        expect(many.steps, `${ranks} ranks, ${expert} share experts`).toEqual(one.steps)
        expect([...many.tensors.keys()].sort()).toEqual([...one.tensors.keys()].sort())
        for (const [name, values] of one.tensors) expect(many.tensors.get(name), name).toEqual(values)
        expect(many.hasGrown).toBe(config.model.moe?.capacity === 'none')
      }
    },
  )

  test('the rows of all ranks at once give the same losses but for rounding', async () => {
    const config = shared({ experts: 8, k: 2 })
    const one = await trainWorld(config, 1, 'float32')
    const joint = { ...config, parallel: { ...config.parallel, reproducible: false } }
    const many = await trainSharing(joint, 2, 2, 'float32')
    for (const [i, { loss, gradNorm }] of many.steps.entries()) {
      expect(loss).toBeCloseTo(one.steps[i]?.loss as number, 5)
      expect(gradNorm).toBeCloseTo(one.steps[i]?.gradNorm as number, 5)
    }
  })

  test('if the loss of one rank is not finite, no rank updates its parameters', async () => {
    const config = shared({})
    const { steps, updates } = await trainWorld(config, 2, 'float32', 2)
    expect(steps.map(({ skipped }) => skipped)).toEqual([false, true, false])
    expect(updates).toBe(2)
  })
})
