import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { leastGrowth } from '../../../test/support/memory-growth.ts'
import { updatedBias } from '../../../test/witness/routing.ts'
import { coefficientOfVariation } from '../../core/averages.ts'
import { type RunConfig, type RunInput, runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import { floatsOf } from '../../engine/contract/arena.ts'
import { openRuntime } from '../../node/run/session.ts'
import { initialize, initialScales } from './store/initialize.ts'
import type { ParameterStore } from './store/store.ts'
import { createStore, type StepOutcome, Trainer } from './trainer.ts'

const configOf = ({ model, train }: RunInput): RunConfig =>
  runSchema.parse({
    data: anyVocabulary,
    model: {
      vocabulary: 64,
      layers: 2,
      width: 16,
      heads: 2,
      sequence: 16,
      hidden: 32,
      ...model,
      moe: model?.moe === null ? null : { experts: 4, hidden: 32, ...model?.moe },
    },
    train: { steps: 1000, batch: 4, ...train, schedule: { kind: 'constant', learningRate: 1e-2, warmup: 0 } },
    runtime: { threads: 1 },
  })

/** Counting by 5 modulo 64, each row from another number: the next token is a function of the current one. */
const batch = {
  tokens: Int32Array.from({ length: 64 }, (_, i) => ((i >> 4) * 11 + (i & 15) * 5) % 64),
  targets: Int32Array.from({ length: 64 }, (_, i) => ((i >> 4) * 11 + (i & 15) * 5 + 5) % 64),
}

async function withTrainer(
  over: RunInput,
  body: (trainer: Trainer, store: ParameterStore) => Promise<void>,
): Promise<void> {
  const config = configOf(over)
  const runtime = await openRuntime(config)
  try {
    const store = createStore(runtime, config)
    await initialize(store, config.train.seed, initialScales(config))
    const trainer = await Trainer.compile(runtime, config, store)
    try {
      await body(trainer, store)
    } finally {
      await trainer.release()
    }
  } finally {
    await runtime.close()
  }
}

const shapes: Record<string, RunInput> = {
  dense: { model: { moe: null } },
  'swiglu, dense, untied': { model: { activation: 'swiglu', moe: null, tied: false } },
  tied: {},
  'untied, learned positions': { model: { tied: false, positions: 'learned' } },
  'layer norm, a sparse layer after a dense one': { model: { norm: 'layer', moe: { every: 2 } } },
  'swiglu experts, a shared expert': { model: { activation: 'swiglu', moe: { sharedHidden: 24 } } },
  'sparse layers from the second on, two groups of tokens': { model: { moe: { from: 1, groups: 2 } } },
  'two micro-batches': { train: { microBatches: 2 } },
  'two micro-batches of random experts': { model: { moe: { router: 'random', k: 2 } }, train: { microBatches: 2 } },
  'top-2, renormalised, softmax after, priority by gate': {
    model: { moe: { k: 2, softmax: 'after', renormalize: true, priority: 'gate' } },
  },
  'prototypes, padded, 1x': {
    model: { moe: { router: 'prototype', prototypes: 2, capacity: '1x', compute: 'padded' } },
  },
  'experts of queries, keys and values': { model: { moe: { attention: 'qkv' } } },
  'experts in all of attention, two micro-batches': {
    model: { moe: { attention: 'all', k: 2, every: 2, groups: 2 } },
    train: { microBatches: 2 },
  },
  'random experts in attention, padded, Adafactor': {
    model: { moe: { attention: 'all', router: 'random', k: 2, compute: 'padded' } },
    train: { optimizer: { kind: 'adafactor' } },
  },
  'dropless, padded': { model: { moe: { capacity: 'none', compute: 'padded' } } },
  'sinkhorn, two groups': { model: { moe: { router: 'sinkhorn', k: 2, groups: 2 } } },
  'biases in place of a balancing loss': { model: { moe: { router: 'bias', k: 2, balance: { coefficient: 0 } } } },
  'biases of sigmoids in a group, a shared expert with a gate, two micro-batches': {
    model: {
      moe: {
        ...{ router: 'bias', k: 2, scores: 'sigmoid', renormalize: true, routedScale: 2.5 },
        ...{ expertGroups: 2, groupScore: 'top-2', sharedHidden: 8, sharedGate: true },
      },
    },
    train: { microBatches: 2 },
  },
  'experts choose': { model: { moe: { router: 'expert-choice', k: 2, capacity: 'kx', factor: 1 } } },
  'top-2, sequential': { model: { moe: { k: 2, selection: 'sequential' } } },
  'moments in bf16': { train: { optimizer: { state: 'bf16' } } },
  'moments in int8': { train: { optimizer: { state: 'int8' } } },
  Adafactor: { train: { optimizer: { kind: 'adafactor' } } },
  'everything at once': {
    model: {
      positions: 'learned',
      norm: 'layer',
      activation: 'swiglu',
      tied: false,
      moe: { every: 2, sharedHidden: 8, groups: 2, k: 2 },
    },
    train: { microBatches: 2, optimizer: { kind: 'adafactor' } },
  },
}

test.each(Object.entries(shapes))('a model of every kind learns a batch: %s', async (_, over) => {
  await withTrainer(over, async (trainer) => {
    const outcomes: StepOutcome[] = []
    for (let step = 1; step <= 25; step++) outcomes.push(await trainer.step(step, batch))
    expect(outcomes.some(({ skipped }) => skipped)).toBe(false)
    // The first loss is near the loss of a guess among 64; training must remove a quarter of it.
    expect(outcomes[0]?.loss).toBeGreaterThan(3)
    expect(outcomes.at(-1)?.loss).toBeLessThan((outcomes[0]?.loss as number) * 0.75)
    const { moe } = configOf(over).model
    const sparse = moe === null ? 0 : moe.every === 2 || moe.from === 1 ? 1 : 2
    const routers = moe === null ? 0 : { none: 1, qkv: 2, all: 3 }[moe.attention]
    expect(outcomes[0]?.layers).toHaveLength(sparse * routers)
  })
})

test('every token of a step is assigned once per choice, over all micro-batches', async () => {
  await withTrainer({ model: { moe: { k: 2, capacity: 'none' } }, train: { microBatches: 2 } }, async (trainer) => {
    const { layers } = await trainer.step(1, batch)
    for (const { tokens, kept, passes } of layers) {
      expect(tokens.reduce((a, b) => a + b)).toBe(64 * 2)
      expect(kept).toEqual(tokens)
      expect(passes).toBe(2)
    }
  })
})

test.each([
  ['adamw', 'softmax'],
  ['adafactor', 'sigmoid'],
] as const)('biases change only by the loads of each step, with %s and %s scores', async (kind, scores) => {
  const moe = { router: 'bias', scores, k: 2, biasRate: 0.125, capacity: '1x', factor: 0.5 } as const
  const train = { microBatches: 2, optimizer: { kind, weightDecay: 0.5 } }
  await withTrainer({ model: { moe }, train }, async (trainer, store) => {
    const names = [0, 1].map((layer) => `layers.${layer}.moe.router.bias`)
    let expected = [0, 1].map(() => [0, 0, 0, 0])
    for (let step = 1; step <= 5; step++) {
      const { layers } = await trainer.step(step, batch)
      expected = expected.map((bias, i) => updatedBias(bias, [...(layers[i]?.tokens ?? [])], moe.biasRate))
      for (const [i, name] of names.entries()) {
        // Eighths are exact in float32: the optimizer has neither updated nor decayed the biases.
        expect([...floatsOf(store.parameter(name))]).toEqual(expected[i])
        expect(floatsOf(store.gradient(name)).every((value) => value === 0)).toBe(true)
      }
    }
    expect(expected.flat().some((value) => value !== 0)).toBe(true)

    // A skipped step does not change the biases.
    const norm = floatsOf(store.parameter('norm')).slice()
    floatsOf(store.parameter('norm')).fill(Number.NaN)
    expect((await trainer.step(6, batch)).skipped).toBe(true)
    floatsOf(store.parameter('norm')).set(norm)
    for (const [i, name] of names.entries()) expect([...floatsOf(store.parameter(name))]).toEqual(expected[i])
  })
})

test('biases even out the loads of a router that sends all tokens to one expert', async () => {
  const cv = async (biasRate: number) => {
    const over = {
      model: { moe: { router: 'bias', biasRate, balance: { coefficient: 0 }, capacity: 'none' } },
    } as const
    let last = 0
    await withTrainer(over, async (trainer, store) => {
      for (const layer of [0, 1]) floatsOf(store.parameter(`layers.${layer}.moe.router.bias`))[0] = 1
      for (let step = 1; step <= 60; step++) {
        const { layers } = await trainer.step(step, batch)
        if (step > 50) last += layers.reduce((sum, { tokens }) => sum + coefficientOfVariation(tokens), 0)
      }
    })
    return last / 20
  }
  // The coefficient of variation is √3 if one of four experts gets all tokens.
  expect(await cv(0)).toBeCloseTo(Math.sqrt(3), 5)
  expect(await cv(0.02)).toBeLessThan(0.3)
})

test('with expert choice, loads are even and nothing is dropped, though some tokens are not served', async () => {
  const moe = { router: 'expert-choice', capacity: '1x', factor: 0.5 } as const
  await withTrainer({ model: { moe } }, async (trainer) => {
    const { layers } = await trainer.step(1, batch)
    // Four experts take an eighth of 64 tokens each.
    for (const { tokens, kept, unserved, balance } of layers) {
      expect([...tokens]).toEqual([8, 8, 8, 8])
      expect(kept).toEqual(tokens)
      expect(unserved).toBeGreaterThanOrEqual(0.5)
      expect(balance).toBeCloseTo(1, 6)
    }
  })
})

test('every routed module of a layer has its own counts and its own random draws', async () => {
  const moe = { attention: 'all', router: 'random', k: 2, capacity: 'none' } as const
  await withTrainer({ model: { moe } }, async (trainer) => {
    const { layers } = await trainer.step(1, batch)
    expect(layers.map(({ layer, module }) => `${layer} ${module}`)).toEqual([
      '0 qkv',
      '0 output',
      '0 ffn',
      '1 qkv',
      '1 output',
      '1 ffn',
    ])
    expect(new Set(layers.map(({ tokens }) => tokens.join())).size).toBe(6)
    for (const { tokens } of layers) expect(tokens.reduce((a, b) => a + b)).toBe(64 * 2)
  })
})

test('memory does not grow with the steps', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  await withTrainer({ model: { vocabulary: 512 }, train: { batch: 16 } }, async (trainer) => {
    const large = {
      tokens: Int32Array.from({ length: 256 }, (_, i) => i),
      targets: Int32Array.from({ length: 256 }, (_, i) => i + 1),
    }
    const train = async (steps: number) => {
      for (let i = 0; i < steps; i++) await trainer.step(1, large)
      collect()
    }
    await train(50)
    // One array of logits per step, 256 × 512 × 4 bytes, would be 100 MiB. Machine code for new numbers of
    // rows is added for a while, until its cache is full.
    expect(await leastGrowth(() => train(200), 40)).toBeLessThan(40)
  })
})

test.each(['adamw', 'adafactor'] as const)(
  'routers learn for train.routerSteps steps and then stay, with %s',
  async (kind) => {
    const train = { routerSteps: 2, optimizer: { kind } }
    await withTrainer({ model: { moe: { router: 'bias', k: 2 } }, train }, async (trainer, store) => {
      const weights = () =>
        ['layers.0.moe.router', 'norm', 'layers.0.moe.router.bias'].map((name) =>
          floatsOf(store.parameter(name)).slice(),
        )
      const after: ReturnType<typeof weights>[] = []
      for (let step = 1; step <= 4; step++) {
        await trainer.step(step, batch)
        after.push(weights())
      }
      const [first, second, third, fourth] = after.map(([router]) => router)
      expect(second).not.toEqual(first)
      expect(third).toEqual(second)
      expect(fourth).toEqual(second)
      expect(after[3]?.[1]).not.toEqual(after[2]?.[1])
      const biases = after.map(([, , bias]) => bias)
      expect(biases[1]).not.toEqual(biases[0])
      expect(biases[3]).toEqual(biases[1])
    })
  },
)
