import { describe, expect, test } from 'vitest'
import type { Layout } from '../inputs/layout.ts'
import { clusterOf } from '../inputs/load-plan.ts'
import { layoutsOf } from '../search/search.ts'
import { idealCluster, layoutOf, predict, type RunInput, realCluster, runOf } from '../testing/cases.ts'
import { powerShare } from './device-time.ts'

const [T, D, F, H, KV, S, L, V] = [2 * 512, 256, 704, 8, 2, 512, 4, 1024]
const head = D / H

/** A small Llama; two sequences a device on eight devices of a node, with FSDP. */
const llama = (plan: RunInput['plan'] = {}, model: RunInput['model'] = {}) => {
  const shape = { layers: L, width: D, heads: H, keyValueHeads: KV, hidden: F, vocabulary: V, sequence: S }
  return runOf({
    model: { ...shape, activation: 'swiglu', tied: false, moe: null, ...model },
    train: { batch: 16, optimizer: { kind: 'adamw' } },
    plan: { program: 'fsdp', ...plan },
  })
}
const parameters = {
  layer: 2 * D * D + 2 * D * KV * head + 3 * D * F + 2 * D,
  root: 2 * V * D + D,
}
const all = L * parameters.layer + parameters.root

function planned(plan: RunInput['plan'] = {}, layout: Partial<Layout> = {}, model: RunInput['model'] = {}) {
  const sizes = layoutOf({ data: 8, zero: 3, ...layout })
  return predict(llama(plan, model), realCluster(8), sizes)
}
const bytes = (plan?: RunInput['plan'], layout?: Partial<Layout>) => planned(plan, layout).memory.device
const activations = (plan?: RunInput['plan'], layout?: Partial<Layout>) => {
  const device = bytes(plan, layout)
  return device['attention activations'] + device['dense activations'] + device['layer inputs']
}

describe('memory of an FSDP program', () => {
  test('has float32 shards of weights, which are the originals, of gradients and of two moments', () => {
    const { weights, gradients, optimizer } = bytes()
    expect(weights).toBeCloseTo((4 * all) / 8, 6)
    expect(gradients).toBeCloseTo((4 * all) / 8, 6)
    expect(optimizer).toBeCloseTo((8 * all) / 8, 6)
    // Without originals everything has 16 bits, but the moments.
    expect(bytes({ master: false }).weights).toBeCloseTo((2 * all) / 8, 6)
  })

  test('has two gathered layers, the root, the gradient of a layer with its buffer, and the gradient of the root', () => {
    const { layer, root } = parameters
    const held = 2 * 2 * layer + 2 * root + (2 + 4) * layer + 2 * root
    expect(bytes().communication).toBeCloseTo(held, 6)
    // Without resharding all layers stay.
    expect(bytes({}, { zero: 2 }).communication).toBeCloseTo(held + 2 * (L - 2) * layer, 6)
  })

  test('keeps the results of attention and of every other product with recomputation by operation', () => {
    // The input; queries and values of three products; the result of attention and a float32 for each row of scores; the
    // gate and the result of the network.
    const token = 2 * D + 2 * (D + KV * head) + 2 * D + 4 * H + 2 * (F + D)
    const finalNorm = 2 * T * D
    expect(activations({}, { recompute: 'operations' })).toBeCloseTo(L * T * token + finalNorm, 6)
    expect(bytes({}, { recompute: 'operations' })['dense activations']).toBeCloseTo(L * T * 2 * (F + D) + finalNorm, 6)
  })

  test('has 12 bytes for a logit, 4 with a compiled loss, 2 with a fused one', () => {
    const logits = (fused: boolean | 'compiled') =>
      bytes({ crossEntropy: { fused } }, { recompute: 'none' }).logits / (T * V)
    expect([false, 'compiled' as const, true].map(logits)).toEqual([12, 4, 2])
  })

  test.each(['fused', 'eager'] as const)('never grows with more recomputation (%s)', (fusion) => {
    const total = (recompute: Layout['recompute'], recomputeLayers = 1) =>
      planned({ fusion, recomputeLayers }, { recompute }).memory.deviceBytes
    const [none, operations, full] = [total('none'), total('operations'), total('full')]
    expect(operations).toBeLessThanOrEqual(none)
    expect(full).toBeLessThanOrEqual(operations)
    expect(total('full', 0.5)).toBeLessThan(none)
    expect(total('full', 0.5)).toBeGreaterThan(full)
  })

  test('keeps whole layers of every second layer', () => {
    const some = activations({ recomputeLayers: 0.5 }, { recompute: 'full' })
    const [none, full] = [activations({}, { recompute: 'none' }), activations({}, { recompute: 'full' })]
    expect(some).toBeCloseTo((none + full) / 2, 6)
  })

  test('has results and receive buffers of every micro-batch in a pipeline, on the last stage all logits', () => {
    // Four layers on two stages of four devices, and four micro-batches of one sequence: one of them in flight on the
    // last stage, two on the first.
    const at = (microBatches: number) => bytes({ recompute: 'full' }, { data: 4, pipeline: 2, zero: 2, microBatches })
    const [four, two] = [at(4), at(2)]
    const tokens = { four: T / 2, two: T }
    // The loss of one micro-batch has 12 bytes for a logit besides.
    expect(four.logits).toBeCloseTo((4 * 2 + 12) * tokens.four * V, 6)
    expect(two.logits).toBeCloseTo((2 * 2 + 12) * tokens.two * V, 6)
    // Gathered weights and gradients are those of the stage for any number of micro-batches; the last stage receives
    // inputs, of which one is in flight.
    const arriving = 2 * D * ((4 - 1) * tokens.four - (2 - 1) * tokens.two)
    expect(four.communication - two.communication).toBeCloseTo(arriving, 6)
  })

  test('grows with fewer shards', () => {
    const of = (shard: number | null) => planned({ parallel: { shard } }).memory.device
    expect(of(4).weights).toBeCloseTo(2 * of(null).weights, 6)
    expect(of(8)).toEqual(of(null))
  })
})

describe('time of an FSDP program', () => {
  const seconds = (plan?: RunInput['plan'], layout?: Partial<Layout>) => planned(plan, layout).time

  test.each(['none', 'operations', 'full'] as const)('is never shorter eager than compiled (%s)', (recompute) => {
    const [compiled, eager] = (['fused', 'eager'] as const).map((fusion) => planned({ fusion }, { recompute }))
    expect(eager?.time.stepSeconds).toBeGreaterThan(compiled?.time.stepSeconds ?? Number.NaN)
    expect(eager?.memory.deviceBytes).toBeGreaterThanOrEqual(compiled?.memory.deviceBytes ?? Number.NaN)
  })

  test('grows with recomputation, in proportion to the layers that have it', () => {
    const again = (recompute: Layout['recompute'], recomputeLayers = 1) =>
      seconds({ recomputeLayers }, { recompute }).parts.recomputation
    expect(again('none')).toBe(0)
    expect(again('operations')).toBeGreaterThan(0)
    expect(again('full')).toBeGreaterThan(again('operations'))
    expect(again('full', 0.5)).toBeCloseTo(again('full') / 2, 12)
  })

  test('by operation repeats keys, output and inner projection of an ideal device', () => {
    const run = llama({}, { positions: 'learned' })
    const parts = (recompute: Layout['recompute']) =>
      predict(run, idealCluster(8), layoutOf({ data: 8, zero: 3, recompute })).time.parts.recomputation
    const flops = 2 * T * D * (KV * head + D + F)
    // Passes: two norms, two residuals, SwiGLU.
    const passed = 2 * T * (2 * 2 * D + 2 * 3 * D + 3 * F)
    // Some products are bound by their bytes, so the sum is a lower bound.
    expect(parts('operations')).toBeGreaterThanOrEqual(L * (flops / 1e14 + passed / 1e12) * (1 - 1e-9))
    expect(parts('operations')).toBeLessThan(parts('full'))
  })

  test('gathers layers twice and the root once, and copies what it gathers and reduces', () => {
    const { layer, root } = parameters
    const run = llama({ overlap: 0 })
    const parts = (zero: number) => predict(run, idealCluster(8), layoutOf({ data: 8, zero })).time.parts
    const gathered = (times: number) => (times * L * layer + root) * (2 * (7 / 8 / 1e11) + 4 / 1e12)
    expect(parts(3)['weight gathering']).toBeCloseTo(gathered(2), 12)
    expect(parts(2)['weight gathering']).toBeCloseTo(gathered(1), 12)
    expect(parts(3)['gradient exchange']).toBeCloseTo(all * (4 * (7 / 8 / 1e11) + 6 / 1e12), 12)
  })

  test('of sharding inside a node gathers nothing over the network', () => {
    const run = (shard: number | null) => llama({ overlap: 0, parallel: { shard } })
    // The network is so slow that a gathering over both nodes would wait for it.
    const slow = (devices: number) => {
      const cluster = idealCluster(devices)
      return { ...cluster, links: { ...cluster.links, network: { ...cluster.links.network, bandwidth: 4e10 } } }
    }
    const gathering = (shard: number | null, devices: number) =>
      predict(run(shard), slow(devices), layoutOf({ data: devices, zero: 3 })).time.parts['weight gathering']
    expect(gathering(8, 16)).toBeCloseTo(gathering(null, 8), 12)
    expect(gathering(8, 16)).toBeLessThan(gathering(null, 16))
  })
})

describe('a limit of power', () => {
  const { device } = clusterOf('h100', 8)

  test('lowers the peak by the cube root of the share of the power', () => {
    expect(powerShare({ ...device, powerLimit: 350 })).toBeCloseTo(0.5 ** (1 / 3), 12)
    expect(powerShare({ ...device, powerLimit: 900 })).toBe(1)
    expect(powerShare(device)).toBe(1)
  })

  test('makes a step slower, the lower it is', () => {
    const step = (powerLimit: number | undefined) => {
      const cluster = {
        ...clusterOf('h100', 8),
        device: { ...device, ...(powerLimit !== undefined && { powerLimit }) },
      }
      return predict(llama(), cluster, layoutOf({ data: 8, zero: 3 })).time.parts.dense
    }
    expect(step(500)).toBeGreaterThan(step(undefined))
    expect(step(400)).toBeGreaterThan(step(500))
  })
})

describe('layouts of an FSDP program', () => {
  test('shard weights, and recompute by operation instead of by module', () => {
    const layouts = layoutsOf(llama(), realCluster(8))
    expect(new Set(layouts.map(({ zero }) => zero))).toEqual(new Set([2, 3]))
    expect(new Set(layouts.map(({ recompute }) => recompute))).toEqual(new Set(['none', 'operations', 'full']))
  })

  test.each([
    [{ zero: 1 }, /plan\.zero: 1 \(must be 2, 3 or null/],
    [{ exchange: 'owners' as const }, /plan\.exchange: owners \(must be collectives/],
    [{ precision: 'float8' as const, weights: 'mxfp8' as const }, /plan\.weights: mxfp8/],
  ])('refuse %j', (plan, message) => {
    expect(() => layoutsOf(llama(plan), realCluster(8))).toThrow(message)
  })
})
