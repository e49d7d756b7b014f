/**
 * A training has the same bits on any number of ranks.
 *
 * @slow
 */

import { expect, test } from 'vitest'
import { type RunConfig, type RunInput, runSchema } from '../../../core/config/run-config.ts'
import { anyVocabulary } from '../../../core/config/testing/any-vocabulary.ts'
import { add, divide, multiply, sqrt, square, subtract } from '../../../core/graph/ops/elementwise.ts'
import { matmul } from '../../../core/graph/ops/matmul.ts'
import { sum } from '../../../core/graph/ops/reduction.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { Tensor } from '../../../core/graph/tensor.ts'
import { counterStep, subtreeLeaves, treeAdditions } from '../../../core/graph/tree.ts'
import { type Arena, floatsOf, RANGE_START } from '../../../engine/contract/arena.ts'
import type { Ranks } from '../../../engine/contract/ranks.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { ranksInProcess } from '../../../engine/world/in-process/ranks.ts'
import { openRuntime } from '../../../node/run/session.ts'
import { ownOptimizers } from '../optimizer/own.ts'
import { GradientProgram } from '../passes/gradient-program.ts'
import { isReproducible } from '../store/gradient-tree.ts'
import { initialize, initialScales } from '../store/initialize.ts'
import { parameterTensors } from '../store/named-tensors.ts'
import { alone, gradientFlows, heldSpecs, type Layout, parameterFlows, placeOf, sharesOf } from '../store/placement.ts'
import { createStore, layoutOf, Trainer } from '../trainer.ts'

const SHARDS = 8
const STEPS = 4

type Moe = NonNullable<NonNullable<RunInput['model']>['moe']>
type Train = NonNullable<RunInput['train']>

const configOf = (moe: Moe | null, train: Train = {}, math: 'float32' | 'bf16' = 'float32'): RunConfig =>
  runSchema.parse({
    data: anyVocabulary,
    model: {
      vocabulary: 64,
      layers: 2,
      width: 16,
      heads: 2,
      sequence: 8,
      hidden: 32,
      moe: moe && { experts: 8, hidden: 16, ...moe },
    },
    train: { batch: 16, steps: STEPS, schedule: { warmup: 0, learningRate: 0.01 }, ...train },
    parallel: { shards: SHARDS },
    runtime: { threads: 1, math },
  })

interface Trained {
  /** Loss and norm after each step, and gate, passes and load of the first router. */
  readonly steps: readonly (readonly number[])[]
  readonly tensors: Readonly<Record<string, string>>
}

const bytesOf = (data: Float32Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')

function batchOf({ train, model }: RunConfig, step: number): { tokens: Int32Array; targets: Int32Array } {
  const size = train.batch * model.sequence
  const tokens = Int32Array.from({ length: size }, (_, t) => (t * 7 + step * 13 + (t % 5) * 3) % 64)
  return { tokens, targets: tokens.map((token) => (token * 5 + 1) % 64) }
}

/** A layout with blocks so small that the rows of every matrix have several owners, if the layout allows it. */
function smallBlocks(layout: Layout): Layout {
  return { ...layout, blockFloats: Number.isFinite(layout.blockFloats) ? 300 : layout.blockFloats }
}

async function trainOne(runtime: Runtime, config: RunConfig, ranks: Ranks | null): Promise<Trained> {
  const store = createStore(runtime, config, smallBlocks(layoutOf(config, ranks)))
  // On eight ranks the table is larger than an even share, so that it has relays.
  if (ranks?.size === 8)
    expect(store.shares.some(({ parts }) => parts.length > 1)).toBe(config.train.optimizer.kind !== 'adamw')
  const trainer = await Trainer.compile(runtime, config, store, undefined, ranks)
  await initialize(store, 1, initialScales(config))
  const steps: number[][] = []
  for (let step = 1; step <= STEPS; step++) {
    const outcome = await trainer.step(step, batchOf(config, step))
    const [router] = outcome.layers
    const routing = router ? [router.gate, router.passes, ...router.kept] : []
    steps.push([outcome.loss, outcome.gradNorm, ...routing])
  }
  await trainer.settle()
  const tensors = [...parameterTensors(store), ...trainer.optimizer.stateTensors()]
  await trainer.release()
  return { steps, tensors: Object.fromEntries(tensors.map(({ name, range }) => [name, bytesOf(floatsOf(range))])) }
}

/** Trains on all ranks of a world and returns the tensors of all of them. */
async function trainWorld(config: RunConfig, size: number): Promise<Trained> {
  const runtimes = await Promise.all(Array.from({ length: size }, () => openRuntime(config)))
  try {
    const ranks = size === 1 ? [null] : ranksInProcess(size)
    const all = await Promise.all(ranks.map((of, i) => trainOne(runtimes[i] as Runtime, config, of)))
    const tensors: Record<string, string> = {}
    for (const trained of all) {
      expect(trained.steps).toEqual(all[0]?.steps)
      for (const [name, bytes] of Object.entries(trained.tensors)) {
        if (name in tensors) expect(tensors[name], name).toBe(bytes)
        tensors[name] = bytes
      }
    }
    return { steps: all[0]?.steps ?? [], tensors }
  } finally {
    await Promise.all(runtimes.map((runtime) => runtime.close()))
  }
}

/** An optimizer of the user's own, with products of whole matrices and a state of two shapes. */
const ownRule = `matrices@${'0'.repeat(16)}`
ownOptimizers.register(ownRule, {
  name: 'matrices',
  state: ({ shape }) => ({ momentum: shape, norm: [] }),
  update({ role, parameter, gradient, state, rate }) {
    const momentum = add(multiply(state.momentum as Tensor, 0.9), gradient)
    const norm = sqrt(sum(square(momentum)))
    const x = divide(momentum, add(norm, 1e-6))
    const change = role === 'matrix' ? subtract(multiply(x, 1.5), matmul(matmul(x, x, { transposeB: true }), x)) : x
    return { parameter: subtract(parameter, multiply(change, rate)), state: { momentum, norm } }
  },
})

const cases: [string, sizes: readonly number[], RunConfig][] = [
  ['top-1', [2, 4, 8], configOf({})],
  ['dense', [4], configOf(null)],
  ['top-2 without capacity, two passes a shard', [2, 8], configOf({ k: 2, capacity: 'none' }, { microBatches: 2 })],
  [
    'prototypes, Adafactor',
    [4, 8],
    configOf({ router: 'prototype', prototypes: 2 }, { optimizer: { kind: 'adafactor' } }),
  ],
  [
    "an optimizer of the user's own, two passes a shard",
    [2, 8],
    configOf({ k: 2, sharedHidden: 8 }, { microBatches: 2, optimizer: { kind: 'own', own: ownRule } }),
  ],
  ['biases, MoE attention', [2], configOf({ router: 'bias', attention: 'all' })],
  ['table and experts of a layer frozen', [4], configOf({ k: 2 }, { freeze: ['embedding', '*.0.moe.experts.*'] })],
  [
    'a layer, norms and routers frozen',
    [2],
    configOf({ router: 'bias' }, { freeze: ['layers.0', '*.norm', '*.router'] }),
  ],
  ['random, moments in bf16', [4], configOf({ router: 'random', k: 2 }, { optimizer: { state: 'bf16' } })],
  ['moments in int8, a table frozen', [4], configOf({}, { optimizer: { state: 'int8' }, freeze: ['embedding'] })],
  ['bf16', [2], configOf({ k: 2 }, {}, 'bf16')],
  [
    'a balancing loss that fades out, two passes a shard',
    [2],
    configOf(
      { k: 2, balance: { coefficient: 0.5 } },
      { microBatches: 2, schedule: { finalBalance: 0, learningRate: 0.01, warmup: 0 } },
    ),
  ],
  [
    'experts and routers at rates of their own',
    [4],
    configOf(
      { k: 2, sharedHidden: 8 },
      { schedule: { expertRate: 0.3, routerRate: 3, learningRate: 0.01, warmup: 0 } },
    ),
  ],
]

test.each(cases)(
  '%s: losses, norms, parameters and moments are bitwise equal on 1 rank and on %j',
  async (_, sizes, config) => {
    const one = await trainWorld(config, 1)
    expect(one.steps.at(-1)?.[0]).toBeLessThan(one.steps[0]?.[0] as number)
    for (const size of sizes) {
      const many = await trainWorld(config, size)
      expect(many.steps).toEqual(one.steps)
      expect(many.tensors).toEqual(one.tensors)
    }
  },
)

/** Gradients of all parameters for each part of the first batch, of `count` sequences. */
async function gradientsOf(runtime: Runtime, config: RunConfig, count: number): Promise<Float32Array[]> {
  const layout = layoutOf({ ...config, train: { ...config.train, batch: count } })
  const store = createStore(runtime, config, layout)
  await initialize(store, 1, initialScales(config))
  const kernels = await runtime.createArenaKernels()
  const { sequence } = config.model
  const shape = { batch: count, shards: layout.shards, microBatches: layout.passes, sequence }
  const program = await GradientProgram.compile({ runtime, kernels, config: config.model, store, shape }, 1)
  const { tokens, targets } = batchOf(config, 1)
  const gradients: Float32Array[] = []
  for (let first = 0; first < config.train.batch; first += count) {
    const part = (data: Int32Array) => data.slice(first * sequence, (first + count) * sequence)
    await program.run(1, { tokens: part(tokens), targets: part(targets) })
    gradients.push(Float32Array.from(store.specs.flatMap(({ name }) => [...floatsOf(store.gradient(name))])))
  }
  program.release()
  await kernels.close()
  return gradients
}

// Higham, Accuracy and Stability of Numerical Algorithms (2002), section 4.2: the error of a sum of P terms in any
// order is at most (P − 1)·u·Σ|gᵢ|, to the first order in u.
test('without a tree, gradients differ from their exact sum by at most P · 2⁻²⁴ times the sum of magnitudes', async () => {
  const config = configOf({ k: 2 })
  const runtime = await openRuntime(config)
  try {
    const each = config.train.batch / SHARDS
    const single = { ...config, parallel: { ...config.parallel, shards: 1 } }
    const parts = await gradientsOf(runtime, single, each)
    const size = (parts[0] as Float32Array).length
    const sums = Float64Array.from({ length: size }, (_, i) => parts.reduce((sum, of) => sum + (of[i] as number), 0))
    const magnitudes = sums.map((_, i) => parts.reduce((sum, of) => sum + Math.abs(of[i] as number), 0))
    for (const reproducible of [false, true]) {
      const parallel = { ...config.parallel, reproducible }
      const [gradient = new Float32Array()] = await gradientsOf(runtime, { ...config, parallel }, config.train.batch)
      const errors = sums.map((sum, i) => Math.abs((gradient[i] as number) - sum / SHARDS))
      const bounds = magnitudes.map((magnitude) => (SHARDS * 2 ** -24 * magnitude) / SHARDS)
      expect(errors.findIndex((error, i) => !(error <= (bounds[i] as number)))).toBe(-1)
      expect(Math.max(...errors)).toBeGreaterThan(0)
    }
  } finally {
    await runtime.close()
  }
})

test('without a tree, a rank needs no partial sums, and losses are close to the losses with a tree', async () => {
  const config = configOf({ k: 2, capacity: 'none' }, { microBatches: 2 })
  const plain = { ...config, parallel: { ...config.parallel, reproducible: false } }
  const bytes = (of: RunConfig) =>
    createStore({ ...cpuMemory, createArena: (size) => ({ byteLength: size }) as Arena }, of).byteLength
  const gradients = 4 * createSpecs().reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)
  // Eight shards need three partial sums.
  expect(bytes(config) - bytes(plain)).toBeGreaterThanOrEqual(3 * gradients)
  const one = await trainWorld(config, 1)
  for (const size of [1, 2]) {
    const other = await trainWorld(plain, size)
    expect(other.tensors).not.toEqual(one.tensors)
    other.steps.forEach(([loss], i) => {
      expect(Math.abs((loss as number) - (one.steps[i]?.[0] as number))).toBeLessThan(1e-5)
    })
  }
})

/** The sums of a tree as text. */
const textOf = (leaves: readonly string[], at: number): string => {
  const sums = [...leaves]
  for (const { into, from } of treeAdditions(leaves.length, at)) {
    // Addition is commutative, so the order within a pair does not matter.
    sums[into] = `(${[sums[into] as string, sums[from] as string].sort().join('+')})`
  }
  return sums[at] as string
}

const letters = (count: number) => Array.from({ length: count }, (_, i) => String.fromCharCode(97 + i))

test('the tree adds every leaf once, in the same pairs wherever the sum ends', () => {
  expect(textOf(letters(6), 0)).toBe('(((a+b)+(c+d))+(e+f))')
  for (let count = 1; count <= 20; count++) {
    const sums = new Set(letters(count).map((_, at) => textOf(letters(count), at)))
    expect(sums.size).toBe(1)
    expect([...sums][0]?.replaceAll(/[()+]/g, '')).toBe(letters(count).join(''))
  }
})

test('the sums of subtrees, added in a tree, give the whole tree', () => {
  for (let leaves = 1; leaves <= 24; leaves++)
    for (const wanted of [1, 2, 3, 5, 8, 100]) {
      const size = subtreeLeaves(leaves, wanted)
      const count = Math.ceil(leaves / size)
      expect(count).toBeGreaterThanOrEqual(Math.min(wanted, leaves))
      const sums = Array.from({ length: count }, (_, part) =>
        textOf(letters(leaves).slice(part * size, (part + 1) * size), 0),
      )
      expect(textOf(sums, 0), `${leaves} leaves in ${count}`).toBe(textOf(letters(leaves), 0))
    }
})

test('adding shards like a counter, and ranks in a tree, gives the tree over all shards', () => {
  for (let shards = 1; shards <= 24; shards++)
    for (let ranks = 1; ranks <= shards; ranks++) {
      if (shards % ranks !== 0 || !isReproducible({ ...alone, ranks, expert: ranks, shards })) continue
      const perRank = shards / ranks
      const ofRanks = Array.from({ length: ranks }, (_, rank) => {
        const waiting: string[] = []
        for (let i = 0; i < perRank; i++) {
          const { add, keepAt } = counterStep(i, perRank)
          let sum = letters(shards)[rank * perRank + i] as string
          for (const level of add) sum = `(${[sum, waiting[level] as string].sort().join('+')})`
          if (keepAt === null) return sum
          waiting[keepAt] = sum
        }
        return ''
      })
      expect(textOf(ofRanks, 0), `${shards} shards on ${ranks} ranks`).toBe(textOf(letters(shards), 0))
    }
})

test.each([Number.POSITIVE_INFINITY, 300, 10])(
  'every float of a tensor has one owner among its holders, and ranks own about equal parts of tables: blocks of %d',
  (blockFloats) => {
    const specs = createSpecs()
    for (const [ranks, expert] of [
      [2, 1],
      [4, 2],
      [8, 4],
      [8, 8],
      [6, 2],
    ] as const) {
      const owners = new Map(specs.map(({ name, shape }) => [name, new Float64Array(sizeOf(shape))]))
      const sizes: number[] = []
      for (let rank = 0; rank < ranks; rank++) {
        const layout = { ...alone, rank, ranks, expert, shards: ranks, blockFloats }
        let size = 0
        for (const { spec, start, floats, owner, holders } of sharesOf(heldSpecs(specs, layout), layout)) {
          expect(holders).toContain(rank)
          expect(holders).toContain(owner)
          expect(start % RANGE_START).toBe(0)
          if (owner !== rank) continue
          const all = owners.get(spec.name) as Float64Array
          const before = spec.stacked ? (all.length * (rank % expert)) / expert : 0
          for (let i = 0; i < floats; i++) all[before + start + i] = (all[before + start + i] as number) + 1
          if (!spec.stacked) size += floats
        }
        sizes.push(size)
      }
      for (const [name, counts] of owners) expect(new Set(counts), name).toEqual(new Set([1]))
      // A rank has at most one aligned range of units of a tensor more than another rank, and in total at most the
      // largest tensor and the largest such range more.
      const tables = specs.filter(({ stacked }) => !stacked)
      const units = tables.map((spec) => {
        const { floats } = placeOf(spec, 0, 1, { ...alone, blockFloats })
        let aligned = floats
        while (aligned % RANGE_START !== 0) aligned += floats
        return aligned
      })
      const most = Math.min(
        Math.max(...tables.map(({ shape }) => sizeOf(shape))) + Math.max(...units),
        units.reduce((sum, floats) => sum + floats, 0),
      )
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(most)
    }
  },
)

test('units are the same on any number of ranks, and cover each tensor', () => {
  const config = configOf({})
  const storeOf = (ranks: number, rank: number) => {
    const layout = { ...layoutOf(config, { rank, size: ranks }), expert: Math.min(ranks, 4), blockFloats: 300 }
    return createStore({ ...cpuMemory, createArena: () => ({}) as never }, config, layout)
  }
  const unitsOfWorld = (ranks: number) =>
    Array.from({ length: ranks }, (_, rank) => storeOf(ranks, rank).units())
      .flat()
      .map(({ index, name, count }) => ({ index, name, count }))
      .sort((a, b) => a.index - b.index)
  const alone = unitsOfWorld(1)
  expect(alone.map(({ index }) => index)).toEqual(alone.map((_, i) => i))
  for (const store of [storeOf(1, 0), storeOf(4, 3)])
    expect(store.specs.flatMap(({ name }) => store.unitIndices(name))).toEqual(alone.map(({ index }) => index))
  expect(alone.filter(({ name }) => name === 'embedding').map(({ count }) => count)).toEqual([288, 288, 288, 160])
  for (const ranks of [2, 4, 8]) expect(unitsOfWorld(ranks)).toEqual(alone)
})

test('relays share the gradients of tensors that have one owner', () => {
  const specs = createSpecs()
  const tables = specs.filter(({ stacked }) => !stacked)
  const total = tables.reduce((sum, { shape }) => sum + sizeOf(shape), 0)
  const largest = Math.max(...tables.map(({ shape }) => sizeOf(shape)))
  for (const [ranks, expert] of [
    [2, 1],
    [3, 1],
    [4, 2],
    [8, 8],
    [15, 5],
    [64, 8],
  ] as const) {
    const received = new Float64Array(ranks)
    for (let rank = 0; rank < ranks; rank++) {
      const layout = { ...alone, rank, ranks, expert, shards: ranks, blockFloats: Number.POSITIVE_INFINITY }
      for (const share of sharesOf(heldSpecs(specs, layout), layout)) {
        const { spec, parts, start, floats, owner, holders } = share
        let end = start
        for (const part of parts) {
          expect(part.start).toBe(end)
          expect(part.start % RANGE_START).toBe(0)
          expect(holders).toContain(part.adder)
          end += part.floats
        }
        expect(end).toBe(start + floats)
        expect(new Set(parts.map(({ adder }) => adder)).size).toBe(parts.length)
        if (ranks === 2 || spec.stacked) expect(parts.map(({ adder }) => adder)).toEqual([owner])
        // Every holder gets every parameter once, except the owner, which has them.
        const got = new Float64Array(ranks)
        for (const { to, floats } of parameterFlows(share)) got[to] = (got[to] as number) + floats
        expect([...got]).toEqual([...got].map((_, r) => (holders.includes(r) && r !== owner ? floats : 0)))
        if (spec.stacked) continue
        for (const { to, floats } of gradientFlows(share))
          if (to === rank) received[rank] = (received[rank] as number) + floats
      }
    }
    if (ranks === 2) continue
    // At most twice an even share from every other rank, and the sum of an owned tensor; parts end at whole ranges.
    const even = total / ranks + RANGE_START
    expect(Math.max(...received)).toBeLessThanOrEqual(2 * (ranks - 1) * even + largest)
  }
})

const createSpecs = () => {
  const config = configOf({})
  return createStore({ ...cpuMemory, createArena: () => ({}) as never }, config).specs
}
