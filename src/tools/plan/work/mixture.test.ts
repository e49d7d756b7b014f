import { describe, expect, test } from 'vitest'
import { layoutOf, sparseRun } from '../testing/cases.ts'
import { sliceOf } from './components.ts'
import { mixture } from './mixture.ts'
import { countParameters } from './parameter-counts.ts'

describe('experts in attention with 8 heads of 24 columns, 2 of them with keys and values, in a model of width 64', () => {
  const run = sparseRun({ attention: 'all', capacity: 'none' }, {}, { keyValueHeads: 2, headWidth: 24 })
  // Queries have 8·24 = 192 columns, keys and values 2·24 = 48 each.
  const [width, queries, keys] = [64, 192, 48]
  const even = new Array<number>(8).fill(1)
  const of = (module: 'qkv' | 'output', expert = 1) => {
    const slice = sliceOf(run, layoutOf({ data: expert, expert }))
    const { components } = mixture(slice, module, even, null)
    const byKind = (kind: 'router' | 'experts' | 'dispatch') => components.find((each) => each.kind === kind)
    return { experts: byKind('experts'), router: byKind('router'), dispatch: byKind('dispatch') }
  }
  // There are 64 sequences of 32 tokens, of which each of 8 experts gets an eighth.
  const rows = 64 * 32

  test('multiply rows of the width to queries, keys and values, and rows of the queries to the width', () => {
    expect(of('qkv').experts?.products).toEqual([{ count: 8, m: rows / 8, n: queries + 2 * keys, k: width }])
    expect(of('output').experts?.products).toEqual([{ count: 8, m: rows / 8, n: width, k: queries }])
  })

  test('have a router that reads the columns that the experts read', () => {
    expect(of('qkv').router?.products[0]?.k).toBe(width)
    expect(of('output').router?.products[0]?.k).toBe(queries)
  })

  test('have as many weights in their products as parameters', () => {
    const weights = (['qkv', 'output'] as const).map((module) => {
      const [product] = of(module).experts?.products ?? []
      return (product?.count ?? 0) * (product?.n ?? 0) * (product?.k ?? 0)
    })
    const withAttention = countParameters(run.model).kinds.experts
    const withoutAttention = countParameters(sparseRun().model).kinds.experts
    expect(run.model.layers * ((weights[0] ?? 0) + (weights[1] ?? 0))).toBe(withAttention - withoutAttention)
  })

  test('send rows of their inputs and get rows of their results, and keep both, in 16 bits', () => {
    const own = rows / 8
    expect(of('qkv', 8).experts?.allToAlls).toEqual([own * width * 2, own * (queries + 2 * keys) * 2])
    expect(of('output', 8).experts?.allToAlls).toEqual([own * queries * 2, own * width * 2])
    expect(of('qkv', 8).experts?.keptBytes).toBe(own * (width + queries + 2 * keys) * 2)
    expect(of('output', 8).experts?.keptBytes).toBe(own * (queries + width) * 2)
  })

  test('copy rows of inputs twice, and rows of results once for each expert and once for each token', () => {
    expect(of('output').dispatch?.passBytes).toBe((2 * rows * queries + 2 * rows * width) * 2)
  })
})
