import { describe, expect, test } from 'vitest'
import { clusterSchema } from '../inputs/cluster.ts'
import { rank } from '../search/search.ts'
import { idealCluster, idealInput, layoutOf, predict, type RunInput, runOf } from '../testing/cases.ts'

const [D, H, T] = [64, 8, 16 * 32]
/** Bytes that a layer with GELU, learned positions and fused attention keeps. */
const LAYER = 32 * T * D + 4 * H * T

const run = (plan: RunInput['plan'] = {}, layers = 8) =>
  runOf({
    model: {
      layers,
      width: D,
      heads: H,
      sequence: 32,
      hidden: 4 * D,
      vocabulary: 512,
      moe: null,
      positions: 'learned',
      activation: 'gelu',
    },
    train: { batch: 16 },
    plan,
  })

describe('offloaded activations', () => {
  const memory = (plan: RunInput['plan'], layout = layoutOf()) => predict(run(plan), idealCluster(8), layout).memory
  const of = (share: number, layout = layoutOf()) => memory({ offloadActivations: share }, layout)

  test('are in host memory, and two layers of them in buffers of the device', () => {
    const { device, hostBytes } = of(0.75)
    expect(hostBytes).toBe(0.75 * 8 * LAYER)
    expect(device['offload buffers']).toBe(2 * 0.75 * LAYER)
    const kept = (bytes: typeof device) => bytes['attention activations'] + bytes['dense activations']
    expect(kept(of(0).device) - kept(device)).toBe(0.75 * 8 * LAYER)
  })

  test('are the inputs of layers with full recomputation', () => {
    const { device, hostBytes } = of(1, layoutOf({ recompute: 'full' }))
    expect(hostBytes).toBe(8 * 2 * T * D)
    expect(device['layer inputs']).toBe(0)
    expect(device['offload buffers']).toBe(2 * 2 * T * D)
  })

  test('are those of all micro-batches in flight in a pipeline', () => {
    const { hostBytes } = of(1, layoutOf({ pipeline: 4, microBatches: 16 }))
    // The first of four stages has two layers and four micro-batches of a sixteenth.
    expect(hostBytes).toBe((4 * 2 * LAYER) / 16)
  })

  test('never take more of the device than they took', () => {
    expect(of(1, layoutOf({ pipeline: 8, microBatches: 1 })).device['offload buffers']).toBe(LAYER)
  })

  test('add to the state that the host has', () => {
    const both = memory({ offloadActivations: 0.5 }, layoutOf({ offload: 'optimizer' }))
    const state = memory({}, layoutOf({ offload: 'optimizer' }))
    expect(both.hostBytes - state.hostBytes).toBe(0.5 * 8 * LAYER)
  })

  const time = (plan: RunInput['plan'], layout = layoutOf()) => predict(run(plan), idealCluster(8), layout).time

  test('cross the link of the host twice, out and back, if nothing hides them', () => {
    const of = (layout: ReturnType<typeof layoutOf>) =>
      time({ offloadActivations: 0.5, overlap: 0 }, layout).parts.offload
    expect(of(layoutOf())).toBeCloseTo((2 * 0.5 * 8 * LAYER) / 1e10, 12)
    // Micro-batches take turns; together they move as much.
    expect(of(layoutOf({ microBatches: 4 }))).toBeCloseTo((2 * 0.5 * 8 * LAYER) / 1e10, 12)
  })

  test('hide behind the share plan.overlap of the pass in which they move', () => {
    const input = idealInput(1)
    const fast = clusterSchema.parse({
      ...input,
      links: { ...input.links, host: { ...input.links?.host, bandwidth: '1 TB/s' } },
    })
    const { parts, overlappedSeconds } = predict(run({ offloadActivations: 0.1 }), fast, layoutOf()).time
    expect(parts.offload).toBe(0)
    expect(overlappedSeconds).toBeCloseTo((2 * 0.1 * 8 * LAYER) / 1e12, 12)
  })

  test('and offloaded weights do not hide behind the same computation', () => {
    const layout = layoutOf({ offload: 'all' })
    const { stepSeconds, overlappedSeconds, parts } = time({ offloadActivations: 1 }, layout)
    const computed = stepSeconds - parts.offload - parts.optimizer
    expect(overlappedSeconds).toBeLessThanOrEqual(0.8 * computed * (1 + 1e-9))
  })

  test('need a link to the host', () => {
    const { links, ...rest } = idealInput(8)
    const { host: _, ...others } = links ?? {}
    const cluster = clusterSchema.parse({ ...rest, links: others })
    expect(() => rank(run({ offloadActivations: 0.5 }), cluster)).toThrow(
      'invalid plan.offloadActivations: 0.5 (the cluster has no links.host)',
    )
  })
})

describe('float8 weights are refused', () => {
  const attempt = (plan: RunInput['plan']) => () => rank(run(plan), float8Cluster)
  const input = idealInput(8)
  const float8Cluster = clusterSchema.parse({
    ...input,
    device: { ...input.device, peak: { ...input.device.peak, float8: '200 TFLOP/s' } },
  })

  test('without float8 products, or without originals to update', () => {
    expect(attempt({ weights: 'mxfp8' })).toThrow('invalid plan.weights: mxfp8 (needs plan.precision=float8')
    expect(attempt({ weights: 'float8', precision: 'float8', master: false })).toThrow('needs plan.master=true')
    expect(attempt({ weights: 'float8', precision: 'float8' })).not.toThrow()
  })

  test('and are gathered in one byte, or in 16 bits and then copied (mxfp8)', () => {
    const of = (weights: 'precision' | 'float8' | 'mxfp8') =>
      predict(run({ precision: 'float8', weights, overlap: 0 }), float8Cluster, layoutOf({ data: 8, zero: 1 })).time
        .parts['weight gathering']
    const multiplied = 8 * (4 * D * D + 2 * 4 * D * D)
    expect(of('precision') - of('float8')).toBeCloseTo(((7 / 8) * multiplied) / 1e11, 12)
    expect(of('mxfp8')).toBe(of('precision'))
  })
})
