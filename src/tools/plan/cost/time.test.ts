import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { anyVocabulary } from '../../../core/config/testing/any-vocabulary.ts'
import { type Cluster, clusterSchema } from '../inputs/cluster.ts'
import { devicesOf, type Layout } from '../inputs/layout.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import {
  idealCluster,
  idealInput,
  layoutOf,
  predict,
  type RunInput,
  realCluster,
  runOf,
  sparseRun,
  sum,
} from '../testing/cases.ts'
import { loadsWithCv, type ModelLoads } from '../work/load.ts'
import { addCounts, countParameters } from '../work/parameter-counts.ts'
import { productSeconds } from './device-time.ts'

function denseRun(plan: RunInput['plan'] = {}, layers = 4, batch = 16): PlannedRun {
  return runOf({
    model: { layers, width: 64, heads: 8, sequence: 32, hidden: 256, vocabulary: 512, moe: null },
    train: { batch },
    plan,
  })
}

/** A cluster on which only products take time. */
function onlyProducts(devices: number): Cluster {
  const input = idealInput(devices)
  const link = { bandwidth: '1e30 B/s', latency: '0 s', efficiency: 1 }
  return clusterSchema.parse({
    ...input,
    device: { ...input.device, bandwidth: '1e30 B/s' },
    links: { node: link, network: link, host: link },
  })
}

describe('products', () => {
  const { device } = idealCluster(8)

  test('take 2·m·n·k operations at the peak if they are large', () => {
    expect(productSeconds(device, 'bfloat16', { count: 3, m: 4096, n: 2048, k: 8192 }, 2)).toBeCloseTo(
      (3 * 2 * 4096 * 2048 * 8192) / 1e14,
      12,
    )
  })

  test('take the time of their bytes if they are thin', () => {
    const seconds = productSeconds(device, 'bfloat16', { count: 1, m: 1, n: 4096, k: 4096 }, 2)
    expect(seconds).toBeCloseTo((2 * (4096 + 4096 * 4096 + 4096)) / 1e12, 15)
  })

  test('of nothing take no time', () => {
    expect(productSeconds(realCluster(8).device, 'bfloat16', { count: 4, m: 0, n: 8, k: 8 }, 2)).toBe(0)
  })

  test('of more rows, columns or depth are never faster', () => {
    const size = fc.integer({ min: 1, max: 5000 })
    fc.assert(
      fc.property(size, size, size, fc.constantFrom('m', 'n', 'k', 'count'), (m, n, k, longer) => {
        const real = realCluster(8).device
        const product = { count: 2, m, n, k }
        const more = { ...product, [longer]: product[longer] + 1 }
        expect(productSeconds(real, 'bfloat16', more, 2)).toBeGreaterThanOrEqual(
          productSeconds(real, 'bfloat16', product, 2),
        )
      }),
    )
  })
})

describe('a step', () => {
  test('of products alone takes 6 operations per weight and token, and 7·S·D a layer for the causal half of attention', () => {
    const run = denseRun()
    const { time } = predict(run, onlyProducts(1), layoutOf())
    const { width, sequence, layers, vocabulary, hidden } = run.model
    const tokens = 16 * 32
    const weights = layers * (4 * width ** 2 + 2 * width * hidden) + vocabulary * width
    // Scores and values take 2 · 2·S·D forward, half of it masked, and 2.5 times as much backward: scores are
    // recomputed.
    const attention = layers * 3.5 * 2 * sequence * width
    expect(time.stepSeconds).toBeCloseTo((tokens * (6 * weights + attention)) / 1e14, 12)
  })

  test('of products alone runs at the peak: MFU is about 1, though half of attention is not computed', () => {
    const { mfu } = predict(denseRun({}, 4), onlyProducts(1), layoutOf())
    expect(mfu).toBeGreaterThan(0.95)
    expect(mfu).toBeLessThan(1.1)
  })

  test('with full recomputation takes a third more, since layers compute the forward pass twice', () => {
    const run = denseRun({ attention: 'materialized' })
    const of = (recompute: Layout['recompute']) => predict(run, onlyProducts(1), layoutOf({ recompute })).time
    const { parts } = of('none')
    const layers = parts.attention + parts.dense
    expect(of('full').parts.recomputation).toBeCloseTo(layers / 3, 14)
    expect(of('full').stepSeconds).toBeCloseTo(of('none').stepSeconds + layers / 3, 14)
  })

  test('with tensor parallelism divides products, and sums twice per layer and pass and once at both ends', () => {
    const run = denseRun({}, 4)
    const cluster = idealCluster(8)
    const { parts } = predict(run, cluster, layoutOf({ tensor: 4 })).time
    const bytes = 16 * 32 * 64 * 2
    // There are sums in four layers, of the embedding forward, and of the gradient of the head's input.
    const sums = 4 * 2 * 2 + 2
    expect(parts['tensor all-reduce']).toBeCloseTo((sums * 2 * (3 / 4) * bytes) / 1e11, 15)
    const alone = predict(run, onlyProducts(1), layoutOf()).time
    const shared = predict(run, onlyProducts(4), layoutOf({ tensor: 4 })).time
    expect(shared.stepSeconds).toBeCloseTo(alone.stepSeconds / 4, 12)
  })

  test('hides the share plan.tensorOverlap of tensor all-reduces, which is zero by default', () => {
    const of = (plan: RunInput['plan']) => predict(denseRun(plan), idealCluster(8), layoutOf({ tensor: 4 })).time
    const all = of({}).parts['tensor all-reduce']
    expect(of({ tensorOverlap: 0 }).parts['tensor all-reduce']).toBe(all)
    expect(of({ tensorOverlap: 0.75 }).parts['tensor all-reduce']).toBeCloseTo(all / 4, 15)
    expect(of({}).stepSeconds - of({ tensorOverlap: 1 }).stepSeconds).toBeCloseTo(all, 15)
  })

  test('reports hidden tensor all-reduces, which are as long as the time that overlap saves', () => {
    const of = (tensorOverlap: number) =>
      predict(denseRun({ tensorOverlap }), idealCluster(8), layoutOf({ tensor: 4 })).time
    expect(of(0.5).stepSeconds + of(0.5).overlappedSeconds).toBeCloseTo(of(0).stepSeconds, 15)
  })

  // Two rounds of half the bytes each would have twice the latency of one.
  test('sums the ends of a model once, with one latency each', () => {
    const of = (latency: number) => {
      const cluster = idealCluster(8)
      const slow = { ...cluster, links: { ...cluster.links, node: { ...cluster.links.node, latency } } }
      return predict(denseRun(), slow, layoutOf({ tensor: 4 })).time.parts['tensor all-reduce']
    }
    // An all-reduce of four ranks has three steps of reduce-scatter and three of all-gather.
    expect(of(1e-3) - of(0)).toBeCloseTo((4 * 2 * 2 + 2) * 2 * 3 * 1e-3, 9)
  })

  test('exchanges tokens to experts and back, forward and backward: four all-to-alls a sparse layer', () => {
    const run = sparseRun({ capacity: 'none' })
    const { parts } = predict(run, idealCluster(8), layoutOf({ data: 8, expert: 8 })).time
    const bytes = (64 / 8) * 32 * 64 * 2
    expect(parts['all-to-all']).toBeCloseTo((2 * 4 * (7 / 8) * bytes) / 1e11, 15)
    const recomputed = predict(run, idealCluster(8), layoutOf({ data: 8, expert: 8, recompute: 'full' })).time
    expect(recomputed.parts['all-to-all']).toBeCloseTo(1.5 * parts['all-to-all'], 15)
  })

  test('exchanges padded buffers whole, one row per slot', () => {
    const layout = layoutOf({ data: 8, expert: 8 })
    const of = (moe: object) => predict(sparseRun(moe), idealCluster(8), layout).time.parts['all-to-all']
    expect(of({ compute: 'padded', factor: 2 })).toBeCloseTo(2 * of({ compute: 'ragged', factor: 2 }), 15)
  })

  test('exchanges the results of attention experts, which are wider than their inputs', () => {
    const of = (attention: 'none' | 'qkv' | 'all', tensor = 1) =>
      predict(
        sparseRun({ capacity: 'none', attention }),
        idealCluster(8 * tensor),
        layoutOf({ data: 8, expert: 8, tensor }),
      ).time.parts['all-to-all']
    // A network and the output send D to the experts and D back; queries, keys and values send D, and 3·D back.
    expect(of('qkv') / of('none')).toBeCloseTo((2 + 4) / 2, 6)
    expect(of('all') / of('none')).toBeCloseTo((2 + 4 + 2) / 2, 6)
    // A device of a tensor group returns its part of the columns.
    expect(of('qkv', 2) / of('none', 2)).toBeCloseTo((2 + 1 + 3 / 2) / 2, 6)
  })

  test('exchanges tokens between nodes if tensor parallelism fills each node', () => {
    const run = sparseRun({ capacity: 'none' })
    const { parts } = predict(run, idealCluster(64), layoutOf({ data: 8, expert: 8, tensor: 8 })).time
    const bytes = (64 / 8) * 32 * 64 * 2
    expect(parts['all-to-all']).toBeCloseTo((2 * 4 * (7 / 8) * bytes) / 5e10, 15)
  })

  test('multiplies with two one-hot matrices for each group of tokens', () => {
    // A device has 256 tokens in G groups, and 8 experts with capacity 1.25·T/8, so a group has 1.25·T/G slots.
    const of = (groups: number) =>
      predict(sparseRun({ groups, factor: 1.25 }, { dispatch: 'one-hot' }), onlyProducts(8), layoutOf({ data: 8 })).time
        .parts.dispatch
    const [T, D] = [8 * 32, 64]
    const pair = (groups: number) => 2 * groups * 2 * (T / groups) * ((1.25 * T) / groups) * D
    // The backward pass has twice the operations, and there are two layers.
    expect(of(1)).toBeCloseTo((2 * 3 * pair(1)) / 1e14, 15)
    expect(of(4)).toBeCloseTo((2 * 3 * pair(4)) / 1e14, 15)
    expect(of(4)).toBeCloseTo(of(1) / 4, 15)
  })

  test('with one-hot dispatch computes and exchanges every slot, for any moe.compute', () => {
    const of = (compute: 'padded' | 'ragged') =>
      predict(sparseRun({ compute }, { dispatch: 'one-hot' }), idealCluster(8), layoutOf({ data: 8, expert: 8 })).time
    expect(of('ragged')).toEqual(of('padded'))
  })

  test('multiplies with attention experts three times as wide as the model', () => {
    const of = (attention: 'none' | 'qkv') =>
      predict(sparseRun({ capacity: 'none', attention }), onlyProducts(1), layoutOf()).time.parts.experts
    expect(of('qkv') - of('none')).toBeCloseTo((2 * 6 * 64 * 32 * 3 * 64 ** 2) / 1e14, 14)
  })

  test('exchanges sharded gradients for every micro-batch, whole gradients once', () => {
    const of = (zero: number, microBatches: number) =>
      predict(denseRun({ overlap: 0 }, 4, 64), idealCluster(8), layoutOf({ data: 8, zero, microBatches })).time.parts[
        'gradient exchange'
      ]
    expect(of(1, 4)).toBeCloseTo(of(1, 1), 15)
    expect(of(2, 4)).toBeCloseTo(4 * of(2, 1), 15)
  })

  test('with ZeRO updates only its own shard', () => {
    const of = (zero: number) => predict(denseRun(), idealCluster(8), layoutOf({ data: 8, zero })).time.parts.optimizer
    expect(of(1)).toBeCloseTo(of(0) / 8, 15)
  })

  test('in a pipeline sends every micro-batch forward and its gradient back', () => {
    const layout = layoutOf({ pipeline: 4, microBatches: 8 })
    const fast = onlyProducts(4)
    const slow = { ...fast, links: { ...fast.links, node: { bandwidth: 1e9, latency: 0, efficiency: 1 } } }
    const of = (cluster: Cluster) => predict(denseRun(), cluster, layout).time.stepSeconds
    const bytes = 2 * 32 * 64 * 2
    // There are 8 micro-batches, and 3 more while the pipeline fills and drains.
    expect(of(slow) - of(fast)).toBeCloseTo(((8 + 3) * 2 * bytes) / 1e9, 12)
  })

  test('sums gradients of dense parameters over all ranks, and of experts over the ranks that hold them', () => {
    const run = sparseRun({}, { overlap: 0, gradients: 'float32' })
    const { layers, embedding, head } = countParameters(run.model)
    const { dense, experts } = addCounts([...layers, embedding, head])
    const of = (expert: number) =>
      predict(run, idealCluster(8), layoutOf({ data: 8, expert })).time.parts['gradient exchange']
    const ring = (n: number, parameters: number) => (2 * ((n - 1) / n) * 4 * parameters) / 1e11
    expect(of(1)).toBeCloseTo(ring(8, dense.parameters + experts.parameters), 15)
    expect(of(8)).toBeCloseTo(ring(8, dense.parameters), 15)
    expect(of(4)).toBeCloseTo(ring(8, dense.parameters) + ring(2, experts.parameters / 4), 15)
  })

  test('with ZeRO 1 scatters gradients and gathers weights, which are as many bytes as an all-reduce', () => {
    const run = denseRun({ overlap: 0, gradients: 'precision' })
    const of = (zero: number) => {
      const { parts } = predict(run, idealCluster(8), layoutOf({ data: 8, zero })).time
      return parts['gradient exchange'] + parts['weight gathering']
    }
    expect(of(1)).toBeCloseTo(of(0), 15)
    // ZeRO 3 gathers weights forward and backward: half as much again (Rajbhandari et al. 2020, section 7).
    expect(of(3)).toBeCloseTo(1.5 * of(0), 15)
  })

  test('reports the hidden exchange of gradients, which is as long as the time that overlap saves', () => {
    const of = (overlap: number) => predict(denseRun({ overlap }), idealCluster(8), layoutOf({ data: 8 })).time
    const exposed = of(0)
    const overlapped = of(0.5)
    expect(exposed.overlappedSeconds).toBe(0)
    expect(overlapped.overlappedSeconds).toBeGreaterThan(0)
    expect(overlapped.stepSeconds + overlapped.overlappedSeconds).toBeCloseTo(exposed.stepSeconds, 15)
  })

  test('in a pipeline of equal stages waits (p − 1)/m of its compute time', () => {
    // The vocabulary has one token, since embedding and head would slow down the first and last stage.
    const run = runOf({
      model: { layers: 8, width: 256, heads: 4, sequence: 256, hidden: 1024, vocabulary: 1, moe: null },
      data: anyVocabulary,
      train: { batch: 16 },
    })
    for (const [p, m] of [
      [2, 4],
      [4, 8],
      [8, 16],
    ] as const) {
      const { parts, stepSeconds } = predict(run, onlyProducts(p), layoutOf({ pipeline: p, microBatches: m })).time
      const computing = stepSeconds - parts['pipeline bubble'] - parts.optimizer
      expect(parts['pipeline bubble'] / computing / ((p - 1) / m)).toBeCloseTo(1, 3)
      const parted = predict(run, onlyProducts(p), layoutOf({ pipeline: p, microBatches: m })).time
      expect(parted.stepSeconds).toBeCloseTo(stepSeconds, 12)
    }
  })

  test('in a pipeline of v interleaved parts waits 1/v times as long', () => {
    const of = (virtualStages: number) =>
      predict(denseRun({}, 8), onlyProducts(4), layoutOf({ pipeline: 4, virtualStages, microBatches: 8 })).time.parts[
        'pipeline bubble'
      ]
    expect(of(2)).toBeCloseTo(of(1) / 2, 15)
  })

  // Stages have four devices in nodes of eight, so every second boundary is between nodes, and all stages wait for it.
  test('in a pipeline waits for the slowest boundary between stages', () => {
    const layout = layoutOf({ data: 4, pipeline: 4, microBatches: 4 })
    const cluster = idealCluster(16)
    const { network } = cluster.links
    const slow = {
      ...cluster,
      links: { ...cluster.links, network: { ...network, bandwidth: network.bandwidth / 1000 } },
    }
    const of = (on: Cluster) => predict(denseRun({}, 4), on, layout).time.parts['pipeline bubble']
    // One sequence passes forward and back, for four micro-batches and three more, at an eighth of 400 GB/s.
    const bytes = (4 + 3) * 2 * 32 * 64 * 2
    expect(of(slow) - of(cluster)).toBeCloseTo(bytes / 5e7 - bytes / 5e10, 12)
  })

  test('with full overlap hides no more of the exchange than its compute time', () => {
    const slow = idealInput(8)
    const cluster = clusterSchema.parse({
      ...slow,
      links: { ...slow.links, node: { bandwidth: '1 MB/s', latency: '0 s' } },
    })
    const { parts, overlappedSeconds } = predict(denseRun({ overlap: 1 }), cluster, layoutOf({ data: 8 })).time
    expect(overlappedSeconds).toBeLessThan(parts.attention + parts.dense + parts.head + parts.embedding)
    expect(parts['gradient exchange']).toBeGreaterThan(overlappedSeconds)
  })

  test('reports hidden traffic to the host, which is as long as the time that overlap saves', () => {
    const of = (overlap: number) =>
      predict(denseRun({ overlap }), idealCluster(8), layoutOf({ data: 8, offload: 'all' })).time
    expect(of(0.5).stepSeconds + of(0.5).overlappedSeconds).toBeCloseTo(of(0).stepSeconds, 12)
  })

  test('reads and writes the state of the optimizer, and passes over gradients and weights', () => {
    const run = denseRun({ precision: 'float32' })
    const { total } = countParameters(run.model)
    const { parts } = predict(run, idealCluster(1), layoutOf()).time
    const minSeconds = (total * (2 * 8 + 4 + 2 * 4)) / 1e12
    expect(parts.optimizer).toBeGreaterThanOrEqual(minSeconds)
    expect(parts.optimizer).toBeLessThan(1.5 * minSeconds)
  })

  test('with an offloaded optimizer waits for the transfer of gradients and weights', () => {
    const run = denseRun({ gradients: 'precision' })
    const { total } = countParameters(run.model)
    const { parts } = predict(run, idealCluster(1), layoutOf({ offload: 'optimizer' })).time
    expect(parts.offload).toBeCloseTo((total * (2 + 2)) / 1e10, 12)
  })
})

const plans = fc.record({
  precision: fc.constantFrom('float32' as const, 'bfloat16' as const),
  attention: fc.constantFrom('fused' as const, 'materialized' as const),
  overlap: fc.constantFrom(0, 0.5, 1),
  dispatch: fc.constantFrom('gather' as const, 'one-hot' as const),
})
const mixtures = fc.record({
  k: fc.constantFrom(1, 2),
  capacity: fc.constantFrom('1x' as const, 'kx' as const, 'none' as const),
  compute: fc.constantFrom('padded' as const, 'ragged' as const),
  attention: fc.constantFrom('none' as const, 'qkv' as const, 'all' as const),
})
const layouts = fc
  .record({
    data: fc.constantFrom(2, 4, 8),
    expert: fc.constantFrom(1, 2),
    tensor: fc.constantFrom(1, 2),
    pipeline: fc.constantFrom(1, 2),
    zero: fc.constantFrom(0, 1, 2, 3),
    recompute: fc.constantFrom('none' as const, 'selective' as const, 'full' as const),
    microBatches: fc.constantFrom(1, 2, 4),
    offload: fc.constantFrom('none' as const, 'optimizer' as const, 'all' as const),
  })
  .map((layout) => layoutOf(layout))

/** A search refuses one-hot dispatch without a capacity. */
const isLegal = (plan: { dispatch: string }, moe: { capacity: string }) =>
  plan.dispatch === 'gather' || moe.capacity !== 'none'

describe('the time of a step', () => {
  test('is the sum of its kinds, which are never negative', () => {
    fc.assert(
      fc.property(plans, mixtures, layouts, (plan, moe, layout) => {
        fc.pre(isLegal(plan, moe))
        const { time } = predict(sparseRun(moe, plan), realCluster(devicesOf(layout)), layout)
        expect(sum(time.parts) / time.stepSeconds).toBeCloseTo(1, 12)
        expect(Object.values(time.parts).every((seconds) => seconds >= 0 && Number.isFinite(seconds))).toBe(true)
        expect(time.overlappedSeconds).toBeGreaterThanOrEqual(0)
      }),
    )
  })

  test('and tokens a second agree', () => {
    fc.assert(
      fc.property(layouts, (layout) => {
        const { time, tokensPerSecond } = predict(sparseRun(), realCluster(devicesOf(layout)), layout)
        expect((tokensPerSecond * time.stepSeconds) / (64 * 32)).toBeCloseTo(1, 12)
      }),
    )
  })

  test('does not fall if any expert gets more tokens', () => {
    const loads = fc.array(fc.double({ min: 0, max: 6, noNaN: true }), { minLength: 8, maxLength: 8 })
    fc.assert(
      fc.property(
        plans,
        mixtures,
        layouts,
        loads,
        fc.nat({ max: 7 }),
        fc.double({ min: 0, max: 4, noNaN: true }),
        (plan, moe, layout, before, expert, more) => {
          fc.pre(isLegal(plan, moe))
          const after = before.map((load, e) => (e === expert ? load + more : load))
          const of = (each: readonly number[]) =>
            predict(sparseRun(moe, plan), realCluster(devicesOf(layout)), layout, () => each).time.stepSeconds
          expect(of(after)).toBeGreaterThanOrEqual(of(before) * (1 - 1e-12))
        },
      ),
    )
  })

  test('does not fall with less even loads if nothing is dropped and every rank has one expert', () => {
    const cv = fc.double({ min: 0, max: 2, noNaN: true })
    fc.assert(
      fc.property(cv, cv, (a, b) => {
        const run = sparseRun({ capacity: 'none' })
        const { moe } = run.model
        const of = (each: number) =>
          predict(run, realCluster(8), layoutOf({ data: 8, expert: 8 }), moe ? loadsWithCv(moe, each) : undefined).time
            .stepSeconds
        expect(of(Math.max(a, b))).toBeGreaterThanOrEqual(of(Math.min(a, b)) * (1 - 1e-9))
      }),
      { numRuns: 20 },
    )
  })

  test('does not depend on loads if every device has all experts and nothing is dropped', () => {
    const run = sparseRun({ capacity: 'none' })
    const of = (loads: ModelLoads | undefined) =>
      predict(run, realCluster(8), layoutOf({ data: 8 }), loads).time.stepSeconds
    expect(of(() => [8, 0, 0, 0, 0, 0, 0, 0])).toBeCloseTo(of(undefined), 12)
  })

  test('with padded experts does not depend on loads', () => {
    const run = sparseRun({ compute: 'padded' })
    const of = (loads: ModelLoads | undefined) =>
      predict(run, realCluster(8), layoutOf({ data: 8, expert: 8 }), loads).time.stepSeconds
    expect(of(() => [8, 0, 0, 0, 0, 0, 0, 0])).toBe(of(undefined))
  })

  test('is the same with twice the devices and twice the batch if links cost nothing', () => {
    fc.assert(
      fc.property(mixtures, fc.constantFrom(0, 1), (moe, expertShare) => {
        const of = (data: number) => {
          const run = sparseRun(moe, { zero: 0 }, {}, { batch: 8 * data })
          return predict(run, onlyProducts(data), layoutOf({ data, expert: expertShare ? 2 : 1 }))
        }
        expect(of(16).time.stepSeconds / of(8).time.stepSeconds).toBeCloseTo(1, 9)
        expect(of(16).tokensPerSecond / of(8).tokensPerSecond).toBeCloseTo(2, 9)
        expect(of(16).mfu / of(8).mfu).toBeCloseTo(1, 9)
      }),
    )
  })

  const fasterDevices: Record<string, (cluster: Cluster, factor: number) => Cluster> = {
    peak: (cluster, factor) => {
      const { float32, bfloat16 = float32 } = cluster.device.peak
      const peak = { float32: float32 * factor, bfloat16: bfloat16 * factor }
      return { ...cluster, device: { ...cluster.device, peak } }
    },
    memory: (cluster, factor) => ({
      ...cluster,
      device: { ...cluster.device, bandwidth: cluster.device.bandwidth * factor },
    }),
    kernels: (cluster, factor) => ({
      ...cluster,
      device: { ...cluster.device, kernel: cluster.device.kernel / factor },
    }),
    ...Object.fromEntries(
      (['node', 'network', 'host'] as const).map((which) => [
        which,
        (cluster: Cluster, factor: number): Cluster => {
          const link = cluster.links[which]
          if (!link) throw new Error('the cluster has all links')
          const faster = { ...link, bandwidth: link.bandwidth * factor, latency: link.latency / factor }
          return { ...cluster, links: { ...cluster.links, [which]: faster } }
        },
      ]),
    ),
  }

  test.each(Object.entries(fasterDevices))('does not rise with a faster cluster: %s', (_, faster) => {
    fc.assert(
      fc.property(plans, mixtures, layouts, fc.constantFrom(1.1, 2, 100), (plan, moe, layout, factor) => {
        fc.pre(isLegal(plan, moe))
        const cluster = realCluster(devicesOf(layout))
        const of = (each: Cluster) => predict(sparseRun(moe, plan), each, layout).time.stepSeconds
        expect(of(faster(cluster, factor))).toBeLessThanOrEqual(of(cluster) * (1 + 1e-12))
      }),
    )
  })

  test('rises with more experts per token if capacity grows with them, and stays the same otherwise', () => {
    const of = (k: number, capacity: 'kx' | '1x') => {
      const run = sparseRun({ experts: 8, k, capacity, compute: 'padded' })
      return predict(run, realCluster(8), layoutOf({ data: 8, expert: 8 })).time.parts.experts
    }
    expect(of(2, 'kx')).toBeGreaterThan(of(1, 'kx'))
    expect(of(2, '1x')).toBe(of(1, '1x'))
  })

  test('is longer with k sequential choices than with one fused choice, and grows with k', () => {
    const of = (selection: 'fused' | 'sequential', k: number) =>
      predict(sparseRun({ k, selection }), realCluster(8), layoutOf({ data: 8 })).time.parts.router
    expect(of('sequential', 2)).toBeGreaterThan(of('fused', 2))
    expect(of('sequential', 4)).toBeGreaterThan(of('sequential', 2))
    expect(of('fused', 4)).toBe(of('fused', 2))
  })
})

test('MFU does not count dropped assignments', () => {
  const run = sparseRun({ compute: 'padded', factor: 1 })
  const of = (loads?: ModelLoads) => predict(run, realCluster(8), layoutOf({ data: 8, expert: 8 }), loads)
  const uneven = of(() => [8, 0, 0, 0, 0, 0, 0, 0])
  expect(uneven.dropped).toBeCloseTo(7 / 8, 12)
  expect(uneven.time.stepSeconds).toBe(of().time.stepSeconds)
  expect(uneven.mfu).toBeLessThan(of().mfu)
})

describe('pipelines whose stages have unequal length', () => {
  test('take the time of the longest stage for all micro-batches, and of every other stage for one', () => {
    const cluster = onlyProducts(4)
    const attention = (layers: number, microBatches: number) =>
      predict(denseRun({}, layers), cluster, layoutOf({ pipeline: 4, microBatches })).time.parts.attention
    // Of four stages with five layers, one has two layers. The pipeline is as slow as with two layers in each stage.
    expect(attention(5, 8)).toBeCloseTo(attention(8, 8), 15)
    const bubble = (layers: number) =>
      predict(denseRun({}, layers), cluster, layoutOf({ pipeline: 4, microBatches: 8 })).time.parts['pipeline bubble']
    expect(bubble(5)).toBeLessThan(bubble(8))
    expect(bubble(5)).toBeGreaterThan(0)
  })
})

describe('all-to-alls hidden by another micro-batch', () => {
  const layout = layoutOf({ data: 8, expert: 8, microBatches: 2 })
  const of = (allToAllOverlap: number, microBatches = 2) =>
    predict(sparseRun({}, { allToAllOverlap }), realCluster(8), { ...layout, microBatches }).time

  test('are exposed only as far as the computation of the other micro-batch does not hide them', () => {
    const [exposed, hidden] = [of(0), of(1)]
    expect(hidden.parts['all-to-all']).toBeLessThan(exposed.parts['all-to-all'])
    expect(hidden.parts['all-to-all'] + hidden.overlappedSeconds).toBeCloseTo(
      exposed.parts['all-to-all'] + exposed.overlappedSeconds,
      12,
    )
  })

  test('are exposed if there is no other micro-batch', () => {
    expect(of(1, 1).parts['all-to-all']).toBe(of(0, 1).parts['all-to-all'])
  })
})

describe('float8', () => {
  const input = idealInput(1)
  const device = { ...input.device, peak: { ...input.device.peak, float8: '200 TFLOP/s' }, bandwidth: '1e30 B/s' }
  const cluster = clusterSchema.parse({ ...input, device: { ...device, matmul: { ...device.matmul, float8: 1 } } })
  const parts = (precision: 'bfloat16' | 'float8') => predict(denseRun({ precision }), cluster, layoutOf()).time.parts

  test('halves the time of products of layers at twice the peak, but not of scores and head', () => {
    const [half, whole] = [parts('float8'), parts('bfloat16')]
    expect(half.dense).toBeCloseTo(whole.dense / 2, 15)
    expect(half.head).toBe(whole.head)
    expect(half.attention).toBeGreaterThan(whole.attention / 2)
    expect(half.attention).toBeLessThan(whole.attention)
  })

  test('pays for a pass that scales the left factor of each product', () => {
    const slow = clusterSchema.parse({ ...input, device: { ...device, bandwidth: '1 GB/s' } })
    const passes = (precision: 'bfloat16' | 'float8') =>
      predict(denseRun({ precision }), slow, layoutOf()).time.parts.dense
    expect(passes('float8')).toBeGreaterThan(passes('bfloat16'))
  })
})

describe('kernels that the host starts', () => {
  const of = (launch: string, plan: RunInput['plan'] = {}) => {
    const input = idealInput(1)
    const cluster = clusterSchema.parse({ ...input, device: { ...input.device, launch } })
    return predict(sparseRun({ capacity: 'none' }, plan), cluster, layoutOf()).time
  }

  test('set the least time of a step, unless they are recorded as graphs', () => {
    expect(of('0 s').parts.launches).toBe(0)
    const slow = of('1 ms')
    expect(slow.parts.launches).toBeGreaterThan(0)
    expect(of('2 ms').stepSeconds).toBeGreaterThan(1.9 * slow.stepSeconds)
    expect(of('1 ms', { graphs: true }).stepSeconds).toBe(of('0 s').stepSeconds)
  })

  test('are more without capacity, since experts then have different numbers of rows', () => {
    const input = idealInput(1)
    const cluster = clusterSchema.parse({ ...input, device: { ...input.device, launch: '1 ms' } })
    const step = (moe: object) => predict(sparseRun(moe), cluster, layoutOf()).time.stepSeconds
    expect(step({ capacity: 'none' })).toBeGreaterThan(step({ capacity: '1x', compute: 'padded' }))
  })
})

describe('context parallelism', () => {
  test('divides the computation of a sequence and exchanges keys and values', () => {
    const run = (context: number) => denseRun({ parallel: { context }, contextOverlap: 0 })
    const [one, four] = [1, 4].map((context) => predict(run(context), realCluster(4), layoutOf({ context })).time)
    expect(four?.parts.dense).toBeLessThan(one?.parts.dense as number)
    expect(one?.parts['context exchange']).toBe(0)
    expect(four?.parts['context exchange']).toBeGreaterThan(0)
  })
})

test('intervals hold the prediction, and are wider on a device without fitted constants', () => {
  const of = (constants: 'fitted' | 'unfitted' | 'measured') => {
    const cluster = realCluster(8)
    return predict(sparseRun(), { ...cluster, device: { ...cluster.device, constants } }, layoutOf({ data: 8 }))
      .interval
  }
  expect(of('fitted')?.time).toBeGreaterThan(1)
  expect(of('unfitted')?.time).toBeGreaterThan(of('fitted')?.time as number)
  expect(of('measured')).toBeNull()
})
