import fc from 'fast-check'
import { expect, test } from 'vitest'
import { routerNames } from '../shared/router-names.ts'
import { DEAD, describeLoad, loadOf, OVERLOADED, UNMARKED } from './expert-load.ts'
import { gapsOf, layerFrame, orders, sortedExperts, timeFrame } from './frame.ts'

/** Two routers of four and two experts; the second is padded with zeros. */
const routers = [
  { layer: 0, module: 'ffn', experts: 4, prototypes: 2 },
  { layer: 1, module: 'ffn', experts: 2, prototypes: 1 },
]
const loads = Float32Array.of(10, 0, 80, 70, 10, 0, 50, 50, 30, 10, 0, 0, 30, 10, 0, 0)
const row = <T>(values: ArrayLike<T>, index: number) => Array.from(values).slice(4 * index, 4 * index + 4)

test('a cell is the load over the mean of its router before drops, also for kept loads', () => {
  const before = layerFrame(loads, routers, 4, { order: 'number', stage: 'before' })
  expect(row(before.values, 0)).toEqual([0.25, 0, 2, 1.75])
  const after = layerFrame(loads, routers, 4, { order: 'number', stage: 'after' })
  expect(row(after.values, 0)).toEqual([0.25, 0, 1.25, 1.25])
})

test('an expert without tokens is dead and one with twice the mean is overloaded, before drops and after', () => {
  for (const stage of ['before', 'after'] as const) {
    const { marks } = layerFrame(loads, routers, 4, { order: 'number', stage })
    expect(row(marks, 0)).toEqual([UNMARKED, DEAD, OVERLOADED, UNMARKED])
  }
})

test('a router with fewer experts leaves its other cells empty, unmarked and without an expert', () => {
  const frame = layerFrame(loads, routers, 4, { order: 'load', stage: 'before' })
  expect(row(frame.values, 1)).toEqual([1.5, 0.5, Number.NaN, Number.NaN])
  expect(row(frame.marks, 1)).toEqual([0, 0, 0, 0])
  expect([0, 1, 2, 3].map((column) => frame.expertAt(1, column))).toEqual([0, 1, -1, -1])
})

test('each row is sorted independently, and a cell knows its expert', () => {
  const frame = layerFrame(loads, routers, 4, { order: 'load', stage: 'before' })
  expect(row(frame.values, 0)).toEqual([2, 1.75, 0.25, 0])
  expect([0, 1, 2, 3].map((column) => frame.expertAt(0, column))).toEqual([2, 3, 0, 1])
})

test('over time each expert is a row, in the same order for all snapshots', () => {
  const router = { layer: 0, module: 'ffn', experts: 2, prototypes: 1 }
  // Expert 1 begins dead and ends with all tokens.
  const history = Float32Array.of(4, 0, 2, 0, 0, 8, 0, 4)
  const frame = timeFrame(history, router, 2, { order: 'load', stage: 'before' })
  expect([frame.rows, frame.columns]).toEqual([2, 2])
  expect([0, 1].map((each) => frame.expertAt(each, 0))).toEqual([1, 0])
  expect([...frame.values]).toEqual([0, 2, 2, 0])
  expect([...frame.marks]).toEqual([DEAD, OVERLOADED, OVERLOADED, DEAD])
})

test('a snapshot without tokens has loads of 0', () => {
  const frame = timeFrame(new Float32Array(4), { layer: 0, module: 'ffn', experts: 2, prototypes: 1 }, 2, {
    order: 'number',
    stage: 'after',
  })
  expect([...frame.values]).toEqual([0, 0])
})

test('the text for screen readers has load, drops and marks', () => {
  const textOf = (expert: number) => describeLoad(loadOf(loads, 0, 4, 4, expert))
  expect(textOf(2)).toBe('2.0 times the mean, 37.5 % dropped, overloaded')
  expect(textOf(1)).toBe('dead, no tokens')
  expect(textOf(0)).toBe('0.3 times the mean, none dropped')
  expect(loadOf(loads, 0, 4, 4, 2)).toMatchObject({ tokens: 80, kept: 50, share: 0.5, dropRate: 0.375 })
})

const anyExperts = fc
  .tuple(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 16 }))
  .chain(([prototypes, each]) =>
    fc.record({
      router: fc.constant({ experts: prototypes * each, prototypes }),
      loads: fc.array(fc.nat(9), { minLength: prototypes * each, maxLength: prototypes * each }),
    }),
  )

test('every order shows every expert once', () => {
  fc.assert(
    fc.property(anyExperts, fc.constantFrom(...orders), ({ router, loads }, order) => {
      const shown = sortedExperts(router, order, (expert) => loads[expert] ?? 0)
      expect([...shown].sort((a, b) => a - b)).toEqual(loads.map((_, expert) => expert))
    }),
  )
})

test('in order of load, more loaded experts come first, and of equal loads the lower number', () => {
  const loads = [3, 9, 3, 0, 9]
  expect(sortedExperts({ experts: 5, prototypes: 1 }, 'load', (expert) => loads[expert] ?? 0)).toEqual([1, 4, 0, 2, 3])
})

test('in order of prototype, experts stay within their prototype, with a gap before the next prototype', () => {
  const loads = [1, 2, 9, 8, 0, 5]
  const router = { experts: 6, prototypes: 3 }
  expect(sortedExperts(router, 'prototype', (expert) => loads[expert] ?? 0)).toEqual([1, 0, 2, 3, 5, 4])
  expect(gapsOf([router, router], 'prototype')).toEqual([2, 4])
})

test('there are no gaps if routers disagree, or nothing is grouped', () => {
  const four = { experts: 8, prototypes: 4 }
  expect(gapsOf([four, { experts: 8, prototypes: 2 }], 'prototype')).toEqual([])
  expect(gapsOf([four], 'load')).toEqual([])
  expect(gapsOf([], 'prototype')).toEqual([])
})

test('modules are named only if they differ', () => {
  const ffn = { layer: 3, module: 'ffn' }
  expect(routerNames([ffn, { layer: 4, module: 'ffn' }])).toEqual(['3', '4'])
  expect(routerNames([ffn, { layer: 3, module: 'qkv' }])).toEqual(['3 ffn', '3 qkv'])
})
