import fc from 'fast-check'
import { expect, test } from 'vitest'
import { gapsOf, ordered, orders, routerNames } from './order.ts'

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
      const shown = ordered(router, order, (expert) => loads[expert] ?? 0)
      expect([...shown].sort((a, b) => a - b)).toEqual(loads.map((_, expert) => expert))
    }),
  )
})

test('by load, nobody stands before a more loaded expert; of equals the lower number comes first', () => {
  const loads = [3, 9, 3, 0, 9]
  expect(ordered({ experts: 5, prototypes: 1 }, 'load', (expert) => loads[expert] ?? 0)).toEqual([1, 4, 0, 2, 3])
})

test('by prototype, experts stay in theirs, and a gap stands where the next begins', () => {
  const loads = [1, 2, 9, 8, 0, 5]
  const router = { experts: 6, prototypes: 3 }
  expect(ordered(router, 'prototype', (expert) => loads[expert] ?? 0)).toEqual([1, 0, 2, 3, 5, 4])
  expect(gapsOf([router, router], 'prototype')).toEqual([2, 4])
})

test('there is no gap where routers do not agree on one, or nothing is grouped', () => {
  const four = { experts: 8, prototypes: 4 }
  expect(gapsOf([four, { experts: 8, prototypes: 2 }], 'prototype')).toEqual([])
  expect(gapsOf([four], 'load')).toEqual([])
  expect(gapsOf([], 'prototype')).toEqual([])
})

test('a module is named only where modules differ', () => {
  const ffn = { layer: 3, module: 'ffn' }
  expect(routerNames([ffn, { layer: 4, module: 'ffn' }])).toEqual(['3', '4'])
  expect(routerNames([ffn, { layer: 3, module: 'qkv' }])).toEqual(['3 ffn', '3 qkv'])
})
