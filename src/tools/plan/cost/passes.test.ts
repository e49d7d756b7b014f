import { describe, expect, test } from 'vitest'
import { type Cluster, clusterSchema } from '../inputs/cluster.ts'
import type { Layout } from '../inputs/layout.ts'
import { idealInput, layoutOf, predict, type RunInput, runOf, sparseRun } from '../testing/cases.ts'

/** A cluster whose devices compute products in no time, so that only bytes take time. */
function onlyBytes(devices: number): Cluster {
  const input = idealInput(devices)
  const peak = { float32: '1e30 FLOP/s', bfloat16: '1e30 FLOP/s' }
  return clusterSchema.parse({ ...input, device: { ...input.device, peak } })
}

describe('passes over memory', () => {
  const [T, D, F, H, S, L] = [16 * 32, 64, 256, 8, 32, 4]
  const of = (plan: RunInput['plan'], model: RunInput['model'] = {}, layout: Partial<Layout> = {}) => {
    const shape = { layers: L, width: D, heads: H, sequence: S, hidden: F, vocabulary: 512, moe: null }
    const run = runOf({ model: { ...shape, ...model }, train: { batch: 16 }, plan })
    return predict(run, onlyBytes(1), layoutOf(layout)).time.parts
  }
  // A product reads two matrices and writes one; each of its two gradients passes the same three.
  const products = (...each: number[]) => 3 * each.reduce((a, b) => a + b, 0)
  const inner = T * D + D * F + T * F

  test('of norm, activation and residual count the reads and writes of a function and of its gradient', () => {
    // Norm and GELU pass 2 forward and 3 backward; the residual, which reads two and writes one, passes 3 and 3.
    const numbers = (2 + 3) * T * D + (2 + 3) * T * F + (3 + 3) * T * D + products(inner, inner)
    expect(of({}).dense).toBeCloseTo((L * 2 * numbers) / 1e12, 14)
  })

  test('of SwiGLU read two and write one; backward they read three and write two', () => {
    const numbers = (2 + 3) * T * D + (3 + 5) * T * F + (3 + 3) * T * D + products(inner, inner, inner)
    expect(of({}, { activation: 'swiglu' }).dense).toBeCloseTo((L * 2 * numbers) / 1e12, 14)
  })

  test('of an eager RMS norm, rotation and SwiGLU count every operation', () => {
    // Norm, forward: to float32 (2 + 4), square (4 + 4), mean (4), product (4 + 4), back (4 + 2), scales (2 + 2).
    // Backward: products with the scales (3 · 2, twice), to float32 (2 + 4), the products' factors (4 + 4, 8 + 4), the
    // square (4 + 4), the sum of both gradients (8 + 4), back (4 + 2).
    const norm = 36 + 64
    // SiLU reads and writes, the product reads two and writes one; backward the product 3 and 3, SiLU 3.
    const swiglu = 2 * (2 + 3 + 3 + 3 + 3)
    const dense = 2 * products(inner, inner, inner) + norm * T * D + swiglu * T * F + 2 * (3 + 3) * T * D
    const model = { activation: 'swiglu', norm: 'rms' } as const
    expect(of({ fusion: 'eager' }, model).dense).toBeCloseTo((L * dense) / 1e12, 14)
    // A rotated number is converted (2 + 4), multiplied (4 + 4) and converted back (4 + 2), in both directions.
    const rotated = of({ fusion: 'eager' }).attention - of({ fusion: 'eager' }, { positions: 'learned' }).attention
    expect(rotated).toBeCloseTo((L * 2 * 20 * 2 * T * D) / 1e12, 14)
  })

  test('of dropout after a network write a mask of one byte per element, and read it', () => {
    expect(of({ dropout: true }).dense - of({}).dense).toBeCloseTo((L * 2 * T * D) / 1e12, 15)
  })

  test('of the softmax of stored scores are two per cell forward and three backward, plus those of dropout', () => {
    const model = { positions: 'learned' as const }
    const stored = of({ attention: 'materialized' }, model).attention
    const fused = of({ attention: 'fused' }, model).attention
    const cells = H * S * T
    // The product of scores reads queries and keys and writes cells; the next reads cells and values and writes the
    // result.
    const scores = products(2 * T * D + cells, cells + 2 * T * D)
    expect(stored - fused).toBeCloseTo((L * 2 * ((2 + 3) * cells + scores)) / 1e12, 14)
    // Dropout reads and writes the cells forward and backward, with a mask of one byte. The residual has a mask too.
    const dropped = of({ attention: 'materialized', dropout: true }, model).attention
    expect(dropped - stored).toBeCloseTo((L * (2 * (2 * 2 + 1) * cells + 2 * T * D)) / 1e12, 14)
  })

  test('of selective recomputation repeat the forward pass and product of the scores', () => {
    const recomputation = of({ attention: 'materialized', dropout: true }, {}, { recompute: 'selective' }).recomputation
    const cells = H * S * T
    const bytes = 2 * (2 * T * D + cells) + (2 * 2 + 2 * 2 + 1) * cells
    expect(recomputation).toBeCloseTo((L * bytes) / 1e12, 14)
  })

  test('of rotary positions read and write queries and keys, forward and backward', () => {
    const rotary = of({}).attention - of({}, { positions: 'learned' }).attention
    expect(rotary).toBeCloseTo((L * 2 * (2 * 2 * 2 * T * D)) / 1e12, 14)
  })

  test('of the results of attention experts cover the columns of one device of the tensor group', () => {
    const of = (attention: 'none' | 'qkv') =>
      predict(sparseRun({ capacity: 'none', attention }), onlyBytes(2), layoutOf({ tensor: 2 })).time.parts.dispatch
    const [T, D, columns] = [64 * 32, 64, (3 * 64) / 2]
    // Rows are read and written on the way to the experts and on the way back, and again in the backward pass.
    const numbers = 2 * T * D + 2 * T * columns
    expect(of('qkv') - of('none')).toBeCloseTo((2 * 2 * 2 * numbers) / 1e12, 14)
  })
})
