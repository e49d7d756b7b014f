/**
 * Compares the whole witness with small models computed by hand, and checks properties that hold for any numbers.
 */
import { describe, expect, test } from 'vitest'
import { type ModelConfig, modelSchema } from '../../src/core/model/config.ts'
import { randomCase } from './generate.ts'
import { type Parameters, witnessForward } from './model.ts'
import { parameterShapes } from './parameters.ts'

const { log: ln } = Math

function expectClose(actual: Float64Array, expected: ArrayLike<number>): void {
  expect(actual).toHaveLength(expected.length)
  for (const [i, value] of actual.entries()) expect(value).toBeCloseTo(expected[i] ?? Number.NaN, 12)
}

/** Parameters from numbers listed row by row. */
function parametersOf(config: ModelConfig, values: Readonly<Record<string, number[]>>): Parameters {
  const shapes = [...parameterShapes(config)]
  return new Map(shapes.map(([name, shape]) => [name, { shape, data: Float64Array.from(values[name] ?? []) }]))
}

describe('the whole model', () => {
  test('one layer of width 1 has the numbers of a calculation by hand', () => {
    const config = modelSchema.parse({
      vocabulary: 2,
      layers: 1,
      width: 1,
      heads: 1,
      sequence: 1,
      positions: 'learned',
      normEpsilon: 1e-37,
      tied: false,
      moe: { experts: 2, hidden: 1, capacity: 'none', balance: { coefficient: 0.1 }, zLoss: 0.01 },
    })
    const values: Record<string, number[]> = {
      embedding: [1, -1],
      positions: [0],
      'layers.0.attention.norm': [1],
      'layers.0.attention.qkv': [1, 1, 1],
      'layers.0.attention.output': [1],
      'layers.0.moe.norm': [1],
      'layers.0.moe.router': [ln(3), 0],
      'layers.0.moe.experts.up': [10, -10],
      'layers.0.moe.experts.down': [0.2, 0.4],
      norm: [2],
      head: [1, -0.5],
    }
    const parameters = parametersOf(config, values)
    // Token 0: 1, with attention 2; expert 0 gives 10·0.2 = 2, times gate ¾: 3.5, normed 1.
    // Token 1: -1, with attention -2; expert 1 gives 10·0.4 = 4, times gate ¾: 1, normed 1.
    // So both have logits 2·(1, -0.5) = (2, -1).
    const tokens = Int32Array.of(0, 1)
    const output = witnessForward({
      config,
      parameters,
      tokens,
      targets: Int32Array.of(0, 1),
      batch: 2,
      training: true,
    })
    expectClose(output.logits, [2, -1, 2, -1])
    const loss = (ln(1 + Math.exp(-3)) + ln(1 + Math.exp(3))) / 2
    const zLoss = (ln(4) ** 2 + ln(4 / 3) ** 2) / 2
    expect(output.loss).toBeCloseTo(loss, 12)
    expect(output.total).toBeCloseTo(loss + 0.1 * 1 + 0.01 * zLoss, 12)
    expect(output.layers.get(0)).toMatchObject({ counts: [1, 1], kept: [1, 1], capacity: null })
  })

  test('a dense and a sparse layer of width 2 have the numbers of a calculation by hand', () => {
    const config = modelSchema.parse({
      vocabulary: 2,
      layers: 2,
      width: 2,
      heads: 1,
      sequence: 1,
      normEpsilon: 1e-37,
      hidden: 1,
      tied: false,
      embeddingScale: 1,
      moe: { every: 2, experts: 2, hidden: 1, capacity: 'none' },
    })
    const attention = { norm: [1, 1], qkv: [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1] }
    const parameters = parametersOf(config, {
      embedding: [1, 0, 0, 1],
      'layers.0.attention.norm': attention.norm,
      'layers.0.attention.qkv': attention.qkv,
      'layers.0.attention.output': [0, Math.SQRT1_2, 0, 0],
      'layers.0.ffn.norm': [3, 5],
      'layers.0.ffn.up': [5, 1],
      'layers.0.ffn.down': [0.1, 0],
      'layers.1.attention.norm': attention.norm,
      'layers.1.attention.qkv': attention.qkv,
      'layers.1.attention.output': [0, 0, 0, 0],
      'layers.1.moe.norm': [Math.sqrt(5) / 3, 2 * Math.sqrt(5)],
      'layers.1.moe.router': [0, ln(3), 0, 0],
      'layers.1.moe.experts.up': [7, -3, 0, 10],
      'layers.1.moe.experts.down': [11, 13, 0.2, -0.1],
      norm: [1, 1],
      head: [1, 0, 0, 2],
    })
    // Token 0 is (1, 0), normed (√2, 0): attention adds (0, 1).
    // (1, 1), normed and weighted (3, 5): hidden gelu(20) = 20, so the dense network adds (2, 0).
    // (3, 1), normed by √5 and weighted (1, 2): logits (0, ln 3); expert 1, gate ¾, adds ¾·20·(0.2, -0.1).
    // (6, -0.5), normed by √18.125.
    const tokens = Int32Array.of(0)
    const output = witnessForward({ config, parameters, tokens, targets: tokens, batch: 1, training: false })
    expectClose(output.logits, [6 / Math.sqrt(18.125), -1 / Math.sqrt(18.125)])
    expect(output.layers.get(1)?.counts).toEqual([0, 1])
    expect([...output.layers.keys()]).toEqual([1])
  })

  test('a missing, unknown or misshapen parameter is refused by name', () => {
    const input = randomCase(1)
    const changed = (change: (parameters: Map<string, { shape: readonly number[]; data: Float64Array }>) => void) => {
      const parameters = new Map(input.parameters)
      change(parameters)
      return () => witnessForward({ ...input, parameters })
    }
    const stray = { shape: [1], data: new Float64Array(1) }
    expect(changed((p) => p.delete('norm'))).toThrow('parameter "norm" is missing')
    expect(changed((p) => p.set('nrom', stray))).toThrow('parameter "nrom" is unknown')
    expect(changed((p) => p.set('embedding', stray))).toThrow('parameter "embedding" has shape [1]')
  })

  test('a later token does not change earlier logits (rotary and learned positions, dropless)', () => {
    for (const positions of ['rotary', 'learned'] as const) {
      const input = randomCase(7, { model: { positions }, moe: { router: 'top-k', capacity: 'none' }, batch: 1 })
      const { vocabulary: V, sequence: S } = input.config
      const tokens = input.tokens.slice()
      tokens[S - 1] = ((tokens[S - 1] ?? 0) + 1) % V
      const before = witnessForward(input).logits
      const after = witnessForward({ ...input, tokens }).logits
      expect(after.subarray(0, (S - 1) * V)).toEqual(before.subarray(0, (S - 1) * V))
      expect(after.subarray((S - 1) * V)).not.toEqual(before.subarray((S - 1) * V))
    }
  })

  test('groups give the same results as separate passes over their sequences', () => {
    const input = randomCase(11, { moe: { router: 'top-k', k: 2, experts: 4, groups: 2, capacity: '1x' }, batch: 2 })
    const { config, tokens, targets } = input
    const { moe } = config
    if (!moe) throw new Error('internal: a dense case')
    const S = config.sequence
    const alone = [0, 1].map((b) => ({
      ...input,
      config: { ...config, moe: { ...moe, groups: 1 } },
      tokens: tokens.slice(b * S, (b + 1) * S),
      targets: targets.slice(b * S, (b + 1) * S).fill(0, S - 1),
      batch: 1,
    }))
    const apart = alone.flatMap((half) => [...witnessForward(half).logits])
    expectClose(witnessForward(input).logits, apart)
  })
})
