import fc from 'fast-check'
import { expect, test } from 'vitest'
import { gapsOf, orders, routerNames, sortedExperts } from './order.ts'

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
