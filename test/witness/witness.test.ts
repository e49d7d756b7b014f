/**
 * The witness must be trustworthy, so every part of it is checked against numbers computed by hand or taken
 * from tables: functions and attention here, the sparse layer in `routing.test.ts`, the whole model in
 * `model.test.ts`.
 */
import { describe, expect, test } from 'vitest'
import { modelSchema } from '../../src/core/model/config.ts'
import { erf, gelu, logSumExp, type Matrix, project, silu, softmax } from './arithmetic.ts'
import { attention, rotate } from './attention.ts'
import { feedForward, projectByExperts } from './experts.ts'
import { layerNorm, rmsNorm } from './transformer.ts'

const { log: ln } = Math

/** Expects that every number is within 1e-12 of the expected one. */
function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length)
  for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 12)
}

describe('functions', () => {
  test('erf equals tabulated values in both ranges of its method, and is odd', () => {
    const table: [number, number][] = [
      [0, 0],
      [0.1, 0.1124629160182849],
      [0.5, 0.5204998778130465],
      [1, 0.8427007929497149],
      [2, 0.9953222650189527],
      [3, 0.9999779095030014],
      [4, 0.9999999845827421],
      [6, 1],
    ]
    for (const [x, value] of table) {
      expect(Math.abs(erf(x) - value)).toBeLessThan(2e-15)
      expect(erf(-x) + erf(x)).toBe(0)
    }
    expect(Math.abs(erf(2.5 - 1e-15) - erf(2.5))).toBeLessThan(2e-15)
  })

  test('GELU is x·Φ(x) and SiLU is x·σ(x)', () => {
    expect(gelu(1)).toBeCloseTo(0.8413447460685429, 14)
    expect(gelu(-2)).toBeCloseTo(-2 * 0.0227501319481792, 14)
    expect(silu(ln(3))).toBeCloseTo(ln(3) * 0.75, 14)
  })

  test('softmax and log-sum-exp do not overflow for large logits', () => {
    expectClose(softmax([1000, 1000 + ln(3)]), [0.25, 0.75])
    expect(logSumExp([-1000, -1000])).toBeCloseTo(-1000 + ln(2), 12)
  })

  test('RMS norm divides by the root mean square, layer norm centres first', () => {
    expectClose(rmsNorm([1, 7], [1, 10], 0), [0.2, 14])
    expectClose(rmsNorm([0, 0], [1, 1], 1e-5), [0, 0])
    expectClose(layerNorm([1, 7], [2, 2], [0, 10], 0), [-2, 12])
    expectClose(layerNorm([1, 1], [2, 2], [0, 10], 1e-5), [0, 10])
  })

  test('SwiGLU multiplies silu(x·gate) by x·up', () => {
    expectClose(feedForward([1], { up: [[10]], gate: [[ln(3)]], down: [[2]] }), [0.75 * ln(3) * 10 * 2])
  })
})

test('in a projection by experts, each kept choice adds its gate times x·W, and a dropped choice adds nothing', () => {
  const experts = [[[1, 0, 2]], [[0, 10, 0]]]
  const [first, second, dropped] = [
    { token: 0, choice: 0, expert: 0, gate: 0.5, kept: true },
    { token: 0, choice: 1, expert: 1, gate: 0.25, kept: true },
    { token: 1, choice: 0, expert: 1, gate: 1, kept: false },
  ] as const
  expect(projectByExperts([[4], [7]], [first, second, dropped], experts)).toEqual([
    [2, 10, 4],
    [0, 0, 0],
  ])
})

describe('attention', () => {
  const identity = [
    [1, 0],
    [0, 1],
  ]
  const by = (matrix: Matrix) => (x_TD: Matrix) => x_TD.map((x) => project(x, matrix))
  /** q = k = x, v = 2x. */
  const qkv = [
    [1, 0, 1, 0, 2, 0],
    [0, 1, 0, 1, 0, 2],
  ]
  const configOf = (positions: 'learned' | 'rotary') => modelSchema.parse({ width: 2, heads: 1, positions, moe: null })

  test('rotary positions rotate element i with element i + d/2, later pairs by smaller angles', () => {
    // Base 4 and d = 4: a quarter turn of the first pair, half as much of the second.
    expectClose(rotate([1, 1, 0, 0], Math.PI / 2, 4), [0, Math.SQRT1_2, 1, Math.SQRT1_2])
    expectClose(rotate([0, 0, 1, 1], Math.PI / 2, 4), [-1, -Math.SQRT1_2, 0, Math.SQRT1_2])
  })

  test('a token sees itself and earlier tokens of its sequence, with scores divided by √(D/H)', () => {
    const x = [
      [1, 0],
      [0, 1],
      [0, 3],
      [5, 0],
    ]
    // Token 1: scores 0 and 1/√2. Token 3: scores 0 and 25/√2.
    const share = 1 / (1 + Math.exp(-Math.SQRT1_2))
    const late = 1 / (1 + Math.exp(-25 * Math.SQRT1_2))
    const y = attention(x, by(qkv), by(identity), 2, configOf('learned'))
    expectClose(y.flat(), [2, 0, 2 * (1 - share), 2 * share, 0, 6, 10 * late, 6 * (1 - late)])
  })

  test('rotary scores depend on the distance, and positions restart in each sequence', () => {
    // At width 2 the angle is the position itself. Token 1: 2·cos(1)/√2 against token 0, 4/√2 against itself.
    const share = 1 / (1 + Math.exp((2 * Math.cos(1) - 4) / Math.SQRT2))
    const y = attention(
      [
        [1, 0],
        [2, 0],
        [1, 0],
        [2, 0],
      ],
      by(qkv),
      by(identity),
      2,
      configOf('rotary'),
    )
    expectClose(y.flat(), [2, 0, 2 * (1 - share) + 4 * share, 0, 2, 0, 2 * (1 - share) + 4 * share, 0])
  })

  test('heads are contiguous blocks that attend separately', () => {
    const wide = modelSchema.parse({ width: 4, heads: 2, positions: 'learned', moe: null })
    const unit = (n: number) => [0, 1, 2, 3].map((i) => (i === n ? 1 : 0))
    const threefold = [0, 1, 2, 3].map((n) => [...unit(n), ...unit(n), ...unit(n)])
    const x = [
      [5, 6, 0, 1],
      [0, 0, 0, 2],
    ]
    // Head 0 of token 1 has no query, so equal weights. Head 1: scores 2·1/√2 and 2·2/√2.
    const share = 1 / (1 + Math.exp(-Math.SQRT2))
    const y = attention(x, by(threefold), by([0, 1, 2, 3].map(unit)), 1, wide)
    expectClose(y.flat(), [5, 6, 0, 1, 2.5, 3, 0, 1 - share + 2 * share])
  })

  test('heads of queries share a head of keys and values in order, with scores of a given scale', () => {
    const shared = modelSchema.parse({
      ...{ width: 2, heads: 4, headWidth: 1, keyValueHeads: 2, attentionScale: 3, positions: 'learned' },
      moe: null,
    })
    // Queries 1, 0, 1, 0; keys x[0] and x[1]; values 10·x[0] and 100·x[1].
    const rows = (x_TD: Matrix) => x_TD.map(([a = 0, b = 0]) => [1, 0, 1, 0, a, b, 10 * a, 100 * b])
    const y = attention(
      [
        [0, 0],
        [ln(2), ln(4)],
      ],
      rows,
      (heads) => heads.map((row) => [...row]),
      1,
      shared,
    )
    // Scores against token 1 are 3·ln 2 and 3·ln 4, or 0 without a query.
    expectClose(y[1] ?? [], [(8 / 9) * 10 * ln(2), 5 * ln(2), (64 / 65) * 100 * ln(4), 50 * ln(4)])
  })
})
