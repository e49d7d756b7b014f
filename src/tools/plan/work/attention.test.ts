import { describe, expect, test } from 'vitest'
import { layoutOf, type RunInput, runOf } from '../testing/cases.ts'
import { queryKeyValue, scores, visibleKeys } from './attention.ts'
import { sliceOf } from './components.ts'

const [S, D, H, KV, d] = [32, 64, 8, 2, 16]

function sliceWith(model: RunInput['model'], plan: RunInput['plan'] = {}, over: Parameters<typeof layoutOf>[0] = {}) {
  const run = runOf({
    model: { vocabulary: 512, layers: 2, width: D, heads: H, sequence: S, hidden: 128, moe: null, ...model },
    train: { batch: 4 },
    plan,
  })
  return sliceOf(run, layoutOf(over))
}
const T = 4 * S

describe('grouped-query attention', () => {
  const grouped = { keyValueHeads: KV, headWidth: d }

  test('projects to H queries and KV keys and values', () => {
    const [projection] = queryKeyValue(sliceWith(grouped))
    expect(projection?.products).toEqual([{ count: 1, m: T, n: (H + 2 * KV) * d, k: D }])
  })

  test('keeps rotated and original queries and keys, values, results, and a float32 for a row of scores', () => {
    const bytes = 2 * (2 * T * H * d + 2 * T * KV * d + T * KV * d + T * H * d)
    expect(scores(sliceWith(grouped), 0).keptBytes).toBe(bytes + 4 * T * H)
  })

  test('repeats keys and values on tensor-parallel ranks when there are more ranks than heads of keys', () => {
    const [projection] = queryKeyValue(sliceWith(grouped, {}, { tensor: 8 }))
    expect(projection?.products[0]?.n).toBe((H / 8 + 2) * d)
  })

  test('takes 2·d operations for scores and values each, for every key that a query sees', () => {
    const [long, seen] = [512, 8]
    const slice = sliceWith({ ...grouped, sequence: long, window: seen, fullEvery: 2 })
    const pairs = (window: number) =>
      Array.from({ length: long }, (_, i) => Math.min(i + 1, window)).reduce((a, b) => a + b, 0)
    // The planner counts half a key less for a query, S/2 instead of (S + 1)/2, and 128 keys (a block) more for a
    // window.
    expect(scores(slice, 1).fusedFlops).toBe(4 * H * (pairs(long) - long / 2) * 4 * d)
    expect(scores(slice, 0).fusedFlops).toBe(4 * H * (pairs(seen) - seen / 2 + 128 * long) * 4 * d)
  })

  test('sees all keys with a window as long as the sequence', () => {
    const { model } = sliceWith({ window: S })
    expect(visibleKeys(model, true)).toBe(visibleKeys(model, false))
  })
})

describe('norms of queries and keys', () => {
  test('pass over both, and keep their results', () => {
    const [, norm] = queryKeyValue(sliceWith({ keyValueHeads: KV, headWidth: d, queryKeyNorm: 'head' }))
    const size = 2 * T * (H + KV) * d
    expect(norm).toMatchObject({ passBytes: 2 * size, gradientPassBytes: 3 * size, keptBytes: size, tensorBytes: 0 })
  })

  test('over all heads need the sum of squares of tensor-parallel ranks', () => {
    const [, norm] = queryKeyValue(sliceWith({ queryKeyNorm: 'width' }, {}, { tensor: 2 }))
    expect(norm?.tensorBytes).toBe(2 * T * 4)
  })
})

describe('latent attention', () => {
  const latent = { queryRank: 24, keyValueRank: 12, headWidth: 16, rotaryWidth: 8, valueWidth: 10 }

  test('has the products of DeepSeek-V2, equations 9 to 19, and divides the products of heads over ranks', () => {
    const [projections] = queryKeyValue(sliceWith({}, { latent }, { tensor: 2 }))
    expect(projections?.products).toEqual([
      { count: 1, m: T, n: 24, k: D },
      { count: 1, m: T, n: 12 + 8, k: D },
      { count: 1, m: T, n: (H / 2) * (16 + 8), k: 24 },
      { count: 1, m: T, n: (H / 2) * (16 + 10), k: 12 },
    ])
  })

  test('has scores of both widths of queries, and values of their own width', () => {
    expect(scores(sliceWith({}, { latent }), 0).fusedFlops).toBe(4 * H * S * (S / 2) * 2 * (16 + 8 + 10))
  })
})

describe('context parallelism', () => {
  test('divides tokens and scores, and brings the keys and values of the other parts', () => {
    const whole = scores(sliceWith({ keyValueHeads: KV, headWidth: d }), 0)
    const slice = sliceWith({ keyValueHeads: KV, headWidth: d }, {}, { context: 4 })
    const part = scores(slice, 0)
    expect(slice.tokens).toBe(T / 4)
    expect(part.fusedFlops).toBe(whole.fusedFlops / 4)
    expect(part.contextBytes).toBe(3 * 2 * 2 * (T / 4) * KV * d)
    expect(whole.contextBytes).toBe(0)
  })
})
