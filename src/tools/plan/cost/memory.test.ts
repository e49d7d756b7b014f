import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Cluster } from '../inputs/cluster.ts'
import type { Layout } from '../inputs/layout.ts'
import { loadCluster, loadPlannedRun } from '../inputs/load-plan.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import { idealCluster, layoutOf, predict, type RunInput, realCluster, runOf, sparseRun, sum } from '../testing/cases.ts'
import type { ModelLoads } from '../work/load.ts'
import { addCounts, countParameters, noParameters } from '../work/parameter-counts.ts'
import { stageCounts, Workloads } from '../work/stages.ts'
import { stateBytes } from './state.ts'

/** A dense model as in 2022: 16 bits, dropout, stored attention scores, learned positions, GELU. */
function denseRun(plan: RunInput['plan'] = {}, layers = 4, model: RunInput['model'] = {}): PlannedRun {
  const shape = { width: 64, heads: 8, sequence: 32, hidden: 256, vocabulary: 512, moe: null }
  return runOf({
    model: { layers, ...shape, positions: 'learned', activation: 'gelu', ...model },
    train: { batch: 16 },
    plan: { precision: 'bfloat16', dropout: true, attention: 'materialized', ...plan },
  })
}

/** Bytes of activations that one more layer adds. */
function layerBytes(run: (layers: number) => PlannedRun, layout: Layout, cluster: Cluster = idealCluster(8)): number {
  const activations = (layers: number) => {
    const { device } = predict(run(layers), cluster, layout).memory
    return (
      device['attention activations'] +
      device['dense activations'] +
      device['router activations'] +
      device['expert activations'] +
      device['layer inputs']
    )
  }
  return activations(9) - activations(8)
}

describe('activations of a dense layer (Korthikanti et al. 2022)', () => {
  const [T, D, H, S] = [16 * 32, 64, 8, 32]
  const of = (plan: RunInput['plan'], layout: Partial<Layout>) =>
    layerBytes((layers) => denseRun(plan, layers), layoutOf(layout))

  test('are 34·T·D + 5·H·S·T bytes', () => {
    expect(of({}, {})).toBe(34 * T * D + 5 * H * S * T)
  })

  test('are divided by the devices of tensor and sequence parallelism', () => {
    expect(of({}, { tensor: 4 })).toBe((34 * T * D + 5 * H * S * T) / 4)
  })

  test('with tensor parallelism alone do not divide 10·T·D of them', () => {
    expect(of({ sequenceParallel: false }, { tensor: 4 })).toBe(10 * T * D + (24 * T * D) / 4 + (5 * H * S * T) / 4)
  })

  test('are 34·T·D with selective recomputation', () => {
    expect(of({}, { recompute: 'selective' })).toBe(34 * T * D)
  })

  test('are 2·T·D with full recomputation', () => {
    expect(of({}, { recompute: 'full' })).toBe(2 * T * D)
  })

  test('with fused attention are the bytes of selective recomputation plus a float32 per row', () => {
    expect(of({ attention: 'fused' }, {})).toBe(34 * T * D + 4 * H * T)
  })

  test('with rotary positions include the rotated queries and keys', () => {
    const rotary = (layers: number) => denseRun({}, layers, { positions: 'rotary' })
    expect(layerBytes(rotary, layoutOf())).toBe(34 * T * D + 5 * H * S * T + 2 * 2 * T * D)
    expect(layerBytes(rotary, layoutOf({ tensor: 4 }))).toBe((38 * T * D + 5 * H * S * T) / 4)
  })

  test('with SwiGLU keep four times the hidden width instead of twice', () => {
    const swiglu = (layers: number) => denseRun({}, layers, { activation: 'swiglu' })
    expect(layerBytes(swiglu, layoutOf())).toBe(34 * T * D + 5 * H * S * T + 2 * 2 * T * 256)
  })

  test('are divided by data parallelism and by micro-batches', () => {
    expect(of({}, { data: 4 })).toBe((34 * T * D + 5 * H * S * T) / 4)
    expect(of({}, { microBatches: 4 })).toBe((34 * T * D + 5 * H * S * T) / 4)
  })
})

test('full recomputation holds the activations of one layer at a time', () => {
  const whole = (recompute: Layout['recompute'], layers: number) => {
    const { device } = predict(denseRun({}, layers), idealCluster(8), layoutOf({ recompute })).memory
    return device['attention activations'] + device['dense activations']
  }
  // Both values include the final norm.
  const [T, D] = [16 * 32, 64]
  expect(whole('full', 8)).toBe(whole('none', 1))
  expect(whole('full', 1) - 4 * T * D).toBe(34 * T * D + 5 * 8 * 32 * T)
})

describe('state of Ψ dense parameters (Rajbhandari et al. 2020, figure 1)', () => {
  const state = (plan: RunInput['plan'], layout: Partial<Layout>, input: RunInput = {}) => {
    const run = runOf({ model: { layers: 2, moe: null }, ...input, plan: { precision: 'float16', ...plan } })
    const { layers, embedding, head, total } = countParameters(run.model)
    const bytes = stateBytes(run, layoutOf(layout), addCounts([...layers, embedding, head]))
    return { bytes, a: sum(bytes) / total, total }
  }
  const mixed = { gradients: 'precision' } as const
  const N = 8

  test.each([
    [0, 2 + 2 + 12],
    [1, 2 + 2 + 12 / N],
    [2, 2 + (2 + 12) / N],
    [3, (2 + 2 + 12) / N],
  ])('with ZeRO %d over 8 ranks is %d bytes a parameter with Adam, 16 bits and 16-bit gradients', (zero, expected) => {
    expect(state(mixed, { data: N, zero }).a).toBeCloseTo(expected, 10)
  })

  test.each<[RunInput['plan'], number]>([
    [{ precision: 'float32' }, 4 + 4 + 8],
    [{ precision: 'tf32' }, 4 + 4 + 8],
    [{}, 2 + 4 + 12],
    [{ master: false, ...mixed }, 2 + 2 + 8],
    [{ state: 'bfloat16', ...mixed }, 2 + 2 + 4 + 4],
    [{ state: 'int8', ...mixed }, 2 + 2 + 4 + 2],
    [{ optimizer: 'sgd', ...mixed }, 2 + 2 + 4 + 4],
    // Gradients are exchanged in 16 bits, and kept in float32 too.
    [{ gradients: 'both' }, 2 + (2 + 4) + 12],
    [{ gradients: 'both', precision: 'bfloat16' }, 2 + (2 + 4) + 12],
  ])('with %j is %d bytes a parameter', (plan, expected) => {
    expect(state(plan, {}).a).toBeCloseTo(expected, 10)
  })

  // Megatron-LM of 2021 called _flatten_dense_tensors for all gradients, whatever the number of data-parallel ranks.
  test('with `both` has a flat copy of all gradients to exchange, unless ZeRO divides the optimizer', () => {
    const run = denseRun({ gradients: 'both' })
    const of = (layout: Partial<Layout>) => predict(run, idealCluster(8), layoutOf(layout)).memory.device.communication
    const { total } = countParameters(run.model)
    expect(of({})).toBeCloseTo(2 * total, 6)
    expect(of({ data: 8, zero: 1 })).toBeCloseTo(2 * Math.min(25e6, total), 6)
  })

  test('of Adafactor adds two vectors per matrix to weights and gradients', () => {
    const { a } = state({ precision: 'float32', optimizer: 'adafactor' }, {})
    expect(a).toBeGreaterThan(8)
    expect(a).toBeLessThan(8.2)
  })

  // Embedding, head, routers and norms stay in 16 bits.
  test.each<['float8' | 'mxfp8', number]>([
    ['float8', 1],
    ['mxfp8', 2 + 2 / 32],
  ])('has %s weights of %d bytes in attention, networks and experts, and 16 bits elsewhere', (weights, bytes) => {
    const run = (plan: RunInput['plan']) => sparseRun({ every: 2 }, { precision: 'float8', ...plan })
    const { layers, embedding, head, total } = countParameters(run({}).model)
    const of = (plan: RunInput['plan']) => stateBytes(run(plan), layoutOf(), addCounts([...layers, embedding, head]))
    // Attention in two layers, a dense network, and eight experts.
    const multiplied = 2 * 4 * 64 ** 2 + 2 * 64 * 128 + 8 * 2 * 64 * 128
    expect(of({}).weights).toBe(2 * total)
    expect(of({ weights }).weights).toBe(2 * (total - multiplied) + bytes * multiplied)
    expect(of({ weights }).gradients + of({ weights }).optimizer).toBe(of({}).gradients + of({}).optimizer)
  })

  test('of experts is divided by expert parallelism, and by ZeRO over the ranks that hold the same experts', () => {
    const run = sparseRun()
    const { layers } = countParameters(run.model)
    const experts = { ...addCounts(layers), dense: noParameters }
    const of = (layout: Partial<Layout>) => sum(stateBytes(run, layoutOf(layout), experts))
    const { parameters } = experts.experts
    expect(of({ data: 8 })).toBeCloseTo(18 * parameters, 6)
    expect(of({ data: 8, expert: 4 })).toBeCloseTo((18 * parameters) / 4, 6)
    expect(of({ data: 8, expert: 4, zero: 3 })).toBeCloseTo((18 * parameters) / 8, 6)
    expect(of({ data: 8, expert: 8, zero: 3 })).toBeCloseTo(of({ data: 8, expert: 8 }), 6)
  })
})

describe('a trillion parameters on 480 V100 of 32 GB', () => {
  const layout = layoutOf({ data: 480, expert: 480 })
  const memory = async (optimizer: string) => {
    const run = await loadPlannedRun('m6t-1t', [`plan.optimizer=${optimizer}`])
    return predict(run, await loadCluster('v100-480'), layout).memory
  }

  test('are 2.09 billion expert parameters a device', async () => {
    const { kinds } = countParameters((await loadPlannedRun('m6t-1t', [])).model)
    expect((kinds.experts / 480 / 1e9).toFixed(2)).toBe('2.09')
  })

  test('need 17.9 GB for weights and gradients, and 35.8 GB with the moments of AdamW', async () => {
    const { device } = await memory('adamw')
    const both = device.weights + device.gradients
    expect((both / 1e9).toFixed(1)).toBe('17.9')
    expect(((both + device.optimizer) / 1e9).toFixed(1)).toBe('35.8')
  })

  test('fit with factored moments, but not with the moments of AdamW', async () => {
    const { device } = await loadCluster('v100-480')
    expect((await memory('adafactor')).deviceBytes).toBeLessThan(device.memory)
    expect((await memory('adamw')).deviceBytes).toBeGreaterThan(device.memory)
  })
})

test('ten trillion parameters fit on 512 V100 only with offloading: their experts alone are 78.5 GB a device', async () => {
  const run = await loadPlannedRun('m6-10t', [])
  const cluster = await loadCluster('v100-512')
  const layout = layoutOf({ data: 512, expert: 512, recompute: 'full' })
  expect(predict(run, cluster, layout).memory.device.weights).toBeGreaterThan(78.5e9)
  const offloaded = predict(run, cluster, { ...layout, offload: 'all' }).memory
  expect(offloaded.device.weights).toBe(0)
  expect(offloaded.hostBytes).toBeGreaterThan(78.5e9)
  expect(offloaded.deviceBytes).toBeLessThan(cluster.device.memory)
})

describe('pipeline stages', () => {
  const dense = (pipeline: number, microBatches: number, over: RunInput['plan'] = {}) =>
    predict(denseRun(over), realCluster(8), layoutOf({ pipeline, microBatches }))

  test('hold the micro-batches in flight, of which the first stage has as many as there are stages', () => {
    const [T, D] = [16 * 32, 64]
    const perLayer = (34 * T * D + 5 * 8 * 32 * T) / 16
    const { device } = dense(4, 16).memory
    // Each stage has one layer; the first stage has no head.
    expect(device['attention activations'] + device['dense activations']).toBeCloseTo(4 * perLayer, 6)
    const few = dense(4, 2).memory.device
    expect(few['attention activations'] + few['dense activations']).toBeLessThanOrEqual(
      2 * 8 * perLayer + 4 * 8 * 32 * D,
    )
  })

  test('hold the weights of their layers, and the first and last also embedding or head', () => {
    const model = denseRun().model
    const { layers, embedding, head } = countParameters(model)
    const [layer] = layers
    const weights = dense(4, 1).memory.device.weights
    const ends = [embedding, head].map(({ dense: { parameters } }) => parameters)
    // With tied matrices, the last stage has a copy of the embedding.
    const largest = Math.max(ends[0] ?? 0, (ends[1] ?? 0) + 512 * 64)
    expect(weights).toBeLessThanOrEqual(2 * ((layer?.dense.parameters ?? 0) + largest))
    expect(weights).toBeGreaterThan(2 * (layer?.dense.parameters ?? 0))
  })

  // The copy of a tied embedding has a factored moment as well: V + D numbers, not V·D.
  test('hold no more optimizer state than one stage would, except for the copy of a tied embedding', () => {
    const run = denseRun({ optimizer: 'adafactor', precision: 'float32' })
    const { layers, embedding, head } = countParameters(run.model)
    const { device } = predict(run, realCluster(8), layoutOf({ pipeline: 4 })).memory
    const all = sum(stateBytes(run, layoutOf(), addCounts([...layers, embedding, head, embedding])))
    expect(device.optimizer + device.weights + device.gradients).toBeLessThan(all)
    expect(device.optimizer).toBeLessThan(4 * addCounts([...layers, embedding, head, embedding]).dense.factored)
  })
})

test('only the last stage keeps logits: as produced, in float32, and their gradient', () => {
  const { device } = predict(denseRun(), idealCluster(8), layoutOf()).memory
  expect(device.logits).toBe(16 * 32 * 512 * (2 + 4 + 4))
  const float = predict(denseRun({ precision: 'float32' }), idealCluster(8), layoutOf()).memory
  expect(float.device.logits).toBe(16 * 32 * 512 * (4 + 4))
  const shared = predict(denseRun(), idealCluster(8), layoutOf({ tensor: 4 })).memory
  expect(shared.device.logits).toBe((16 * 32 * 512 * 10) / 4)
})

test('dispatch has a send and a receive buffer of the widest all-to-all of one layer', () => {
  const of = (expert: number, attention: 'none' | 'qkv' = 'none') =>
    predict(sparseRun({ capacity: 'none', attention }), idealCluster(8), layoutOf({ data: 8, expert })).memory.device
  expect(of(8)['dispatch buffers']).toBe(2 * 8 * 32 * 64 * 2)
  expect(of(1)['dispatch buffers']).toBe(0)
  expect(of(8, 'qkv')['dispatch buffers']).toBe(2 * 8 * 32 * (3 * 64) * 2)
})

describe('buffers of weights and gradients', () => {
  const run = sparseRun({}, { gradients: 'precision' }, { layers: 4 })
  const { layers, embedding, head } = countParameters(run.model)
  const parts = [...layers, embedding, head]
  const { dense, experts } = addCounts(parts)
  const of = (layout: Partial<Layout>) => predict(run, realCluster(8), layoutOf({ data: 8, ...layout })).memory.device
  /** Parameters of the largest part, with a share of its experts. */
  const largest = (share: number) =>
    Math.max(...parts.map((part) => part.dense.parameters + part.experts.parameters * share))
  const bucket = (expert: number) => 2 * (dense.parameters + experts.parameters / expert)

  test('hold the gradients being exchanged, 16 bits for each parameter of the device', () => {
    expect(of({ expert: 4 }).communication).toBe(bucket(4))
  })

  test('hold two whole layers with ZeRO 3, but only dense weights if no experts are replicated', () => {
    expect(of({ expert: 4, zero: 3 }).communication).toBe(bucket(4) + 2 * 2 * largest(1 / 4))
    expect(of({ expert: 8, zero: 3 }).communication).toBe(bucket(8) + 2 * 2 * largest(0))
  })

  test('hold two whole layers with their experts and gradients if everything is offloaded', () => {
    expect(of({ expert: 8, offload: 'all' }).communication).toBe(bucket(8) + 2 * (2 + 2) * largest(1 / 8))
  })
})

test('one-hot dispatch keeps two matrices per group: a place and a gate for each token and slot of the group', () => {
  const of = (groups: number, layers: number) =>
    predict(
      sparseRun({ groups, factor: 1 }, { dispatch: 'one-hot' }, { layers }),
      idealCluster(8),
      layoutOf({ data: 8 }),
    ).memory.device['router activations']
  // A device has 256 tokens and as many slots: G times two matrices of (T/G)² cells of two bytes.
  const T = 8 * 32
  const layer = (groups: number) => of(groups, 3) - of(groups, 2)
  expect(layer(1) - layer(4)).toBe(2 * 2 * (T * T - (T * T) / 4))
})

describe('stages', () => {
  test.each([1, 2, 4])('%d together hold all parameters, and a copy of a tied embedding', (pipeline) => {
    for (const tied of [true, false]) {
      const run = sparseRun({ every: 2 }, {}, { layers: 4, tied })
      const parts = countParameters(run.model)
      const { stages } = new Workloads(run, () => new Array<number>(8).fill(1)).of(layoutOf({ pipeline }))
      const held = stages.map((stage) => addCounts(stageCounts(parts, stage, pipeline)))
      const total = held.reduce((all, { dense, experts }) => all + dense.parameters + experts.parameters, 0)
      const { vocabulary, width } = run.model
      expect(total).toBe(parts.total + (tied && pipeline > 1 ? vocabulary * width : 0))
      expect(stages.flatMap(({ layers }) => layers)).toHaveLength(4)
    }
  })
})

test('activations of experts are an upper bound: the activations of a rank that is the busiest in every layer', () => {
  const run = sparseRun({ capacity: 'none' }, {}, { layers: 2 })
  const of = (loads: ModelLoads) =>
    predict(run, realCluster(8), layoutOf({ data: 8, expert: 8 }), loads).memory.device['expert activations']
  const hot = (expert: number) => Array.from({ length: 8 }, (_, e) => (e === expert ? 8 : 0))
  // The busiest rank gets all assignments of all eight ranks, T each. It keeps D of input, D of result, and 2·F of
  // GELU.
  const [T, D, F] = [8 * 32, 64, 128]
  const busiest = 8 * T * (2 * D + 2 * F) * 2
  expect(of(() => hot(0))).toBe(2 * busiest)
  // If another rank is the busiest in the second layer, every rank has less than predicted.
  expect(of((layer) => hot(layer))).toBe(2 * busiest)
})

const plans = fc.record({
  precision: fc.constantFrom('float32' as const, 'bfloat16' as const),
  attention: fc.constantFrom('fused' as const, 'materialized' as const),
  optimizer: fc.constantFrom('adamw' as const, 'adafactor' as const, 'sgd' as const),
  dropout: fc.boolean(),
})
const mixtures = fc.record({
  k: fc.constantFrom(1, 2),
  capacity: fc.constantFrom('1x' as const, 'kx' as const, 'none' as const),
  compute: fc.constantFrom('padded' as const, 'ragged' as const),
})
const recomputes = fc.constantFrom('none' as const, 'selective' as const, 'full' as const)
const offloads = fc.constantFrom('none' as const, 'optimizer' as const, 'all' as const)

describe('memory of a device', () => {
  test('is the sum of its kinds, which are never negative', () => {
    fc.assert(
      fc.property(
        plans,
        mixtures,
        recomputes,
        offloads,
        fc.constantFrom(0, 1, 2, 3),
        fc.constantFrom(1, 2),
        (plan, moe, recompute, offload, zero, pipeline) => {
          const layout = layoutOf({ data: 8, expert: 4, pipeline, zero, recompute, offload })
          const { device, deviceBytes } = predict(sparseRun(moe, plan), realCluster(8 * pipeline), layout).memory
          expect(sum(device)).toBeCloseTo(deviceBytes, 3)
          expect(Object.values(device).every((bytes) => bytes >= 0 && Number.isFinite(bytes))).toBe(true)
        },
      ),
    )
  })

  test('is not raised by more data parallelism with a batch that grows with it', () => {
    fc.assert(
      fc.property(plans, mixtures, recomputes, fc.constantFrom(0, 1, 2, 3), (plan, moe, recompute, zero) => {
        const of = (data: number) => {
          const run = sparseRun(moe, plan, {}, { batch: 8 * data })
          return predict(run, realCluster(data), layoutOf({ data, expert: 2, zero, recompute })).memory.deviceBytes
        }
        expect(of(8)).toBeLessThanOrEqual(of(4))
        expect(of(32)).toBeLessThanOrEqual(of(8))
      }),
    )
  })

  test('is not raised by more data parallelism with the same batch', () => {
    fc.assert(
      fc.property(plans, recomputes, fc.constantFrom(0, 1, 2, 3), (plan, recompute, zero) => {
        const of = (data: number) => {
          const layout = layoutOf({ data, zero, recompute })
          return predict(sparseRun({ capacity: 'none' }, plan), realCluster(data), layout).memory.deviceBytes
        }
        expect(of(8)).toBeLessThanOrEqual(of(4))
        expect(of(64)).toBeLessThanOrEqual(of(8))
      }),
    )
  })

  test('is not raised by more expert parallelism with even loads', () => {
    fc.assert(
      fc.property(plans, mixtures, recomputes, fc.constantFrom(0, 1, 2), (plan, moe, recompute, zero) => {
        const of = (expert: number) =>
          predict(sparseRun(moe, plan), realCluster(8), layoutOf({ data: 8, expert, zero, recompute })).memory
            .deviceBytes
        // The first exchange needs buffers; further ranks do not.
        expect(of(4)).toBeLessThanOrEqual(of(2))
        expect(of(8)).toBeLessThanOrEqual(of(4))
      }),
    )
  })

  test('is not raised by ZeRO 1 and 2', () => {
    fc.assert(
      fc.property(plans, mixtures, recomputes, fc.constantFrom(1, 2, 8), (plan, moe, recompute, expert) => {
        const of = (zero: number) =>
          predict(sparseRun(moe, plan), realCluster(8), layoutOf({ data: 8, expert, zero, recompute })).memory
            .deviceBytes
        expect(of(1)).toBeLessThanOrEqual(of(0))
        expect(of(2)).toBeLessThanOrEqual(of(1))
      }),
    )
  })

  // Weights of experts that only one rank holds are never gathered.
  test('is not raised by ZeRO 3 if no experts are replicated', () => {
    const run = sparseRun({ hidden: 1024 }, {}, { layers: 8 })
    const of = (zero: number) => predict(run, realCluster(8), layoutOf({ data: 8, expert: 8, zero })).memory.deviceBytes
    expect(of(3)).toBeLessThanOrEqual(of(2))
  })

  test('is lowered by ZeRO 3 in a dense model of many layers', () => {
    const run = denseRun({}, 16)
    const of = (zero: number) => predict(run, realCluster(8), layoutOf({ data: 8, zero })).memory.deviceBytes
    expect(of(3)).toBeLessThan(of(2))
  })

  test('is not raised by recomputation, more micro-batches or offloading', () => {
    fc.assert(
      fc.property(plans, mixtures, (plan, moe) => {
        const run = sparseRun(moe, plan, { layers: 4 })
        const of = (over: Partial<Layout>) =>
          predict(run, realCluster(8), layoutOf({ data: 8, expert: 4, ...over })).memory.deviceBytes
        expect(of({ recompute: 'selective' })).toBeLessThanOrEqual(of({}))
        expect(of({ recompute: 'full' })).toBeLessThanOrEqual(of({ recompute: 'selective' }))
        expect(of({ microBatches: 2 })).toBeLessThanOrEqual(of({}))
        expect(of({ offload: 'optimizer' })).toBeLessThanOrEqual(of({}))
      }),
    )
  })

  test('and of its host add up to the same state with any offloading', () => {
    const run = sparseRun()
    const state = (offload: Layout['offload']) => {
      const { device, hostBytes } = predict(run, realCluster(8), layoutOf({ data: 8, offload })).memory
      return device.weights + device.gradients + device.optimizer + hostBytes
    }
    expect(state('optimizer')).toBeCloseTo(state('none'), 3)
    expect(state('all')).toBeCloseTo(state('none'), 3)
  })

  test('does not depend on the speed of links', () => {
    const run = sparseRun()
    const layout = layoutOf({ data: 8, expert: 8 })
    const slow = realCluster(8)
    const fast = { ...slow, links: { ...slow.links, node: { ...slow.links.node, bandwidth: 1e15 } } }
    expect(predict(run, fast, layout).memory).toEqual(predict(run, slow, layout).memory)
  })
})

describe("activations of today's programs", () => {
  const device = (plan: RunInput['plan'], recompute: 'none' | 'selective' = 'none') =>
    predict(sparseRun({ capacity: 'none' }, plan), realCluster(1), layoutOf({ recompute })).memory.device
  /** Number of layers, rows of each with top-1, and the width. */
  const [layers, rows, width] = [2, 64 * 32, 64]

  test('gates on hidden activations keep no results of experts, which are 2 bytes a row and column', () => {
    const saved = device({ gates: 'results' })['expert activations'] - device({ gates: 'hidden' })['expert activations']
    expect(saved).toBe(layers * rows * width * 2)
  })

  test('float8 products keep the rows of experts in a byte', () => {
    const saved =
      device({ precision: 'bfloat16' })['expert activations'] - device({ precision: 'float8' })['expert activations']
    expect(saved).toBe(layers * rows * width)
  })

  test('selective recomputation drops results of norms, but keeps their inputs', () => {
    const saved = device({})['attention activations'] - device({}, 'selective')['attention activations']
    // One layer at a time is recomputed.
    expect(saved).toBe((layers - 1) * rows * width * 2)
  })
})
