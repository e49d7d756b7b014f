import { describe, expect, test } from 'vitest'
import { clusterSchema } from '../inputs/cluster.ts'
import type { Layout } from '../inputs/layout.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import { rank } from '../search/search.ts'
import { idealCluster, idealInput, layoutOf, predict, type RunInput, runOf, sparseRun } from '../testing/cases.ts'

const [D, H, S, T] = [64, 8, 32, 16 * 32]

/** A dense model with GELU and fused attention; a layer keeps 32·T·D + 4·H·T bytes in 16 bits. */
const denseRun = (layers: number, plan: RunInput['plan'] = {}): PlannedRun =>
  runOf({
    model: {
      layers,
      width: D,
      heads: H,
      sequence: S,
      hidden: 4 * D,
      vocabulary: 512,
      moe: null,
      positions: 'learned',
      activation: 'gelu',
    },
    train: { batch: 16 },
    plan,
  })

const activations = (run: PlannedRun, layout: Layout): number => {
  const { device } = predict(run, float8Cluster, layout).memory
  return (
    device['attention activations'] +
    device['router activations'] +
    device['expert activations'] +
    device['dense activations'] +
    device['layer inputs']
  )
}

const ideal = idealInput(8)
const float8Cluster = clusterSchema.parse({
  ...ideal,
  device: { ...ideal.device, peak: { ...ideal.device.peak, float8: '200 TFLOP/s' } },
})

describe('a dense layer that recomputes modules', () => {
  /** Bytes that one more layer adds. */
  const of = (recompute: Layout['recompute'], plan: RunInput['plan'] = {}) =>
    activations(denseRun(9, plan), layoutOf({ recompute })) - activations(denseRun(8, plan), layoutOf({ recompute }))
  const attention = 8 * T * D + 4 * H * T

  test.each<[Layout['recompute'], number]>([
    ['none', 32 * T * D + 4 * H * T],
    // The results of two norms, 2·T·D each.
    [['norms'], 28 * T * D + 4 * H * T],
    // The result of GELU, four times as wide.
    [['activations'], 24 * T * D + 4 * H * T],
    [['norms', 'activations'], 20 * T * D + 4 * H * T],
    // Queries, keys, values, results, and a float32 for each row of scores.
    [['attention'], 24 * T * D],
    [['network'], 8 * T * D + attention],
    // Inputs and results of the norms are left.
    [['attention', 'network'], 8 * T * D],
    [['attention', 'network', 'norms'], 4 * T * D],
  ])('%j keeps the bytes of its formula', (recompute, expected) => {
    expect(of(recompute)).toBe(expected)
  })

  test('keeps the input of a block in 16 bits, though the products of a float8 layer keep 8', () => {
    const plan = { precision: 'float8' } as const
    // Two norms keep 2 + 1 bytes, attention 8, and the network 2 · 2 · 4.
    expect(of('none', plan)).toBe((2 * 3 + 8 + 16) * T * D + 4 * H * T)
    expect(of(['network'], plan)).toBe((3 + 4 + 8) * T * D + 4 * H * T)
    expect(of(['network', 'norms'], plan)).toBe((2 + 2 + 8) * T * D + 4 * H * T)
  })

  test('holds one recomputed block at a time, the largest', () => {
    const of = (recompute: Layout['recompute']) => activations(denseRun(1), layoutOf({ recompute }))
    // The network has 16·T·D; attention, 8·T·D and the rows, is recomputed before or after it.
    expect(of('none') - of(['attention', 'network'])).toBe(attention)
    expect(of('none') - of(['network'])).toBe(0)
  })

  test('computes the forward pass of a block once more', () => {
    const { device, links, ...rest } = ideal
    const cluster = clusterSchema.parse({ ...rest, links, device: { ...device, bandwidth: '1e30 B/s' } })
    const of = (recompute: Layout['recompute']) =>
      predict(denseRun(4), cluster, layoutOf({ recompute })).time.parts.recomputation
    const network = 4 * 2 * T * 2 * D * 4 * D
    // Four projections, and half of scores and values.
    const attention = 4 * (2 * T * 4 * D * D + 2 * T * S * D)
    expect(of(['network'])).toBeCloseTo(network / 1e14, 14)
    expect(of(['attention'])).toBeCloseTo(attention / 1e14, 14)
    expect(of(['attention', 'network'])).toBeCloseTo(of('full'), 14)
    expect(of(['norms'])).toBeCloseTo(0, 14)
  })

  test('repeats the sum over tensor-parallel ranks of a recomputed block', () => {
    const of = (recompute: Layout['recompute']) =>
      predict(denseRun(4), idealCluster(8), layoutOf({ tensor: 4, recompute })).time.parts['tensor all-reduce']
    const once = (4 * 2 * (3 / 4) * T * D * 2) / 1e11
    expect(of(['network']) - of('none')).toBeCloseTo(once, 15)
    expect(of(['attention', 'network']) - of('none')).toBeCloseTo(2 * once, 15)
    expect(of(['norms', 'activations'])).toBe(of('none'))
  })
})

describe('latent attention', () => {
  const latent = { queryRank: 24, keyValueRank: 12, headWidth: 16, rotaryWidth: 8, valueWidth: 10 }
  const of = (recompute: Layout['recompute'], positions: 'learned' | 'rotary' = 'rotary') => {
    const of = (layers: number) => {
      const run = denseRun(layers, { latent })
      return activations({ ...run, model: { ...run.model, positions } }, layoutOf({ recompute }))
    }
    return of(9) - of(8)
  }
  const [queries, keys, values] = [24, 24, 10].map((width) => H * width)

  // The projection from which keys and values are made is freed; there are no unrotated copies.
  test('keeps latents and their norms, queries, keys, values and results', () => {
    const kept = 2 * 2 * (24 + 12) + 2 * ((queries ?? 0) + (keys ?? 0) + 2 * (values ?? 0)) + 4 * H
    expect(of('none')).toBe(T * kept + 8 * T * D + 16 * T * D)
    expect(of('none', 'learned')).toBe(of('none'))
  })

  test('recomputed from latents drops queries, keys and values', () => {
    expect(of('none') - of(['latent'])).toBe(2 * T * ((queries ?? 0) + (keys ?? 0) + (values ?? 0)))
  })
})

describe('a mixture that recomputes modules', () => {
  const F = 128
  const rows = (64 * 32) / 4
  const run = (layers: number, plan: RunInput['plan'] = {}, moe = {}) =>
    sparseRun({ k: 1, capacity: 'none', hidden: F, ...moe }, plan, { layers, activation: 'gelu' })
  const layout = (recompute: Layout['recompute']) => layoutOf({ data: 4, expert: 4, recompute })
  const saved = (recompute: Layout['recompute'], plan: RunInput['plan'] = {}, moe = {}) => {
    const of = (each: Layout['recompute']) =>
      activations(run(9, plan, moe), layout(each)) - activations(run(8, plan, moe), layout(each))
    return of('none') - of(recompute)
  }

  test('keeps the rows that arrived, and results for the gates, if its experts are recomputed', () => {
    expect(saved(['experts'])).toBe(2 * 2 * rows * F)
    expect(saved(['experts'], { gates: 'hidden' })).toBe(2 * 2 * rows * F)
  })

  test('keeps nothing after its norm if it is recomputed whole', () => {
    const router = 2 * rows * 8 * 4
    expect(saved(['moe'])).toBe(2 * 2 * rows * F + 2 * 2 * rows * D + router)
    expect(saved(['moe'], { gates: 'hidden' })).toBe(2 * 2 * rows * F + 2 * rows * D + router)
    expect(saved(['experts', 'moe'])).toBe(saved(['moe']))
  })

  test('recomputes a shared expert with the others', () => {
    const shared = { sharedHidden: 32 }
    expect(saved(['experts'], {}, shared) - saved(['experts'])).toBe(2 * 2 * rows * 32)
  })

  test('repeats its all-to-alls only if it is recomputed whole', () => {
    const of = (recompute: Layout['recompute']) =>
      predict(run(4), idealCluster(4), layout(recompute)).time.parts['all-to-all']
    expect(of('none')).toBeGreaterThan(0)
    expect(of(['experts'])).toBe(of('none'))
    expect(of(['moe'])).toBeCloseTo(1.5 * of('none'), 15)
  })
})

describe('modules that a run does not have are refused:', () => {
  const sparse = (plan: RunInput['plan']) => () => rank(sparseRun({}, plan), idealCluster(8))
  test.each<[string, () => unknown, string]>([
    ['scores of fused attention', sparse({ recompute: ['norms', 'scores'] }), 'plan.attention=materialized'],
    ['latent attention', sparse({ recompute: ['latent'] }), 'the model has no latent attention'],
    ['a dense network', sparse({ recompute: ['network'] }), 'use experts or moe'],
    ['experts', () => rank(denseRun(2, { recompute: ['experts'] }), idealCluster(8)), 'the model has no experts'],
  ])('%s', (_, attempt, message) => {
    expect(attempt).toThrow(message)
  })
})
