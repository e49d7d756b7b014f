import { describe, expect, test } from 'vitest'
import { type Cluster, clusterSchema } from './inputs/cluster.ts'
import type { Layout } from './search/layout.ts'
import { idealInput, layoutOf, predict, type RunInput, runOf, sparseRun } from './testing/cases.ts'

/** A cluster whose devices compute products at once, so that only bytes take time. */
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

  test('for norm, activation and residual: what a function reads and writes, and what its gradient does', () => {
    // Norm and GELU: 2 and 3; the residual, which reads two and writes one: 3 and 3.
    const numbers = (2 + 3) * T * D + (2 + 3) * T * F + (3 + 3) * T * D + products(inner, inner)
    expect(of({}).dense).toBeCloseTo((L * 2 * numbers) / 1e12, 14)
  })

  test('of SwiGLU read two and write one, and read three and write two', () => {
    const numbers = (2 + 3) * T * D + (3 + 5) * T * F + (3 + 3) * T * D + products(inner, inner, inner)
    expect(of({}, { activation: 'swiglu' }).dense).toBeCloseTo((L * 2 * numbers) / 1e12, 14)
  })

  test('of dropout after a network write a mask of a byte, and read it', () => {
    expect(of({ dropout: true }).dense - of({}).dense).toBeCloseTo((L * 2 * T * D) / 1e12, 15)
  })

  test('for the softmax of stored scores: two a cell forward and three backward, and as much as dropout adds', () => {
    const model = { positions: 'learned' as const }
    const stored = of({ attention: 'materialized' }, model).attention
    const fused = of({ attention: 'fused' }, model).attention
    const cells = H * S * T
    // Scores read queries and keys and write cells, values read cells and values and write the result.
    const scores = products(2 * T * D + cells, cells + 2 * T * D)
    expect(stored - fused).toBeCloseTo((L * 2 * ((2 + 3) * cells + scores)) / 1e12, 14)
    // Forward and backward the dropped cells are read and written, with a mask of a byte; so is the residual's.
    const dropped = of({ attention: 'materialized', dropout: true }, model).attention
    expect(dropped - stored).toBeCloseTo((L * (2 * (2 * 2 + 1) * cells + 2 * T * D)) / 1e12, 14)
  })

  test('for the scores that selective recomputation has again: their product and the forward pass', () => {
    const again = of({ attention: 'materialized', dropout: true }, {}, { recompute: 'selective' }).recomputation
    const cells = H * S * T
    const bytes = 2 * (2 * T * D + cells) + (2 * 2 + 2 * 2 + 1) * cells
    expect(again).toBeCloseTo((L * bytes) / 1e12, 14)
  })

  test('for rotary positions: queries and keys are read and written, forward and backward', () => {
    const turned = of({}).attention - of({}, { positions: 'learned' }).attention
    expect(turned).toBeCloseTo((L * 2 * (2 * 2 * 2 * T * D)) / 1e12, 14)
  })

  // All columns are counted for each of them.
  test('passes over what experts of attention hand back: to each device of a tensor group its part', () => {
    const of = (attention: 'none' | 'qkv') =>
      predict(sparseRun({ capacity: 'none', attention }), onlyBytes(2), layoutOf({ tensor: 2 })).time.parts.dispatch
    const [T, D, columns] = [64 * 32, 64, (3 * 64) / 2]
    // Rows are read and written on their way there, and back read and written; as much in the backward pass.
    const numbers = 2 * T * D + 2 * T * columns
    expect(of('qkv') - of('none')).toBeCloseTo((2 * 2 * 2 * numbers) / 1e12, 14)
  })
})
