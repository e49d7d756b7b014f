import fc from 'fast-check'
import { expect, test } from 'vitest'
import { moeSchema } from '../../src/core/model/config/moe-config.ts'
import { capacityOf } from '../../src/core/model/routing/capacity.ts'
import { capacity, refusalsOf, rules } from './refusals.ts'

test('a queue worked by hand: eight tokens, two experts, room for four', () => {
  const { loads, refused, lost } = refusalsOf({ experts: [0, 0, 1, 0, 0, 0, 1, 0], choices: 1, of: 2 }, 1, 'kx')
  expect(loads).toEqual([6, 2])
  expect(refused).toEqual([false, false, false, false, false, true, false, true])
  expect(lost).toEqual(refused)
})

test('a token with two experts is lost if both refuse it', () => {
  // Room for ⌈4/4 · 1⌉ = 1 choice: the second token finds expert 0 full, the third both of its experts.
  const { lost, refused } = refusalsOf({ experts: [0, 1, 0, 2, 0, 1, 3, 1], choices: 2, of: 4 }, 1, '1x')
  expect(refused).toEqual([false, false, true, false, true, true, false, true])
  expect(lost).toEqual([false, false, true, false])
})

test('the capacity is that of a training', () => {
  for (const rule of rules)
    for (const k of [1, 2])
      for (const tokens of [16, 100, 103])
        for (const factor of [0.25, 0.5, 1, 1.25, 2, 4]) {
          const moe = moeSchema.parse({ experts: 16, k, router: 'top-k', capacity: rule, factor })
          const routes = { experts: new Array<number>(tokens * k).fill(0), choices: k, of: 16 }
          // A capacity of all tokens or more is no limit, which training names null.
          expect(Math.min(tokens, capacity(routes, factor, rule))).toBe(capacityOf(moe, tokens, 'train') ?? tokens)
        }
})

test('an expert computes as many choices as fit, and a larger factor refuses no choice that a smaller one keeps', () => {
  const routes = fc
    .record({ choices: fc.integer({ min: 1, max: 2 }), tokens: fc.integer({ min: 1, max: 40 }) })
    .chain(({ choices, tokens }) =>
      fc.record({
        experts: fc.array(fc.integer({ min: 0, max: 7 }), { minLength: choices * tokens, maxLength: choices * tokens }),
        choices: fc.constant(choices),
        of: fc.constant(8),
      }),
    )
  fc.assert(
    fc.property(routes, fc.constantFrom(...rules), fc.constantFrom(0.25, 0.5, 1, 1.25), (text, rule, factor) => {
      const [less, more] = [refusalsOf(text, factor, rule), refusalsOf(text, 2 * factor, rule)]
      const kept = less.loads.map((_, e) => text.experts.filter((expert, i) => expert === e && !less.refused[i]).length)
      expect(kept).toEqual(less.loads.map((load) => Math.min(load, less.capacity)))
      expect(more.refused.every((is, i) => !is || less.refused[i])).toBe(true)
    }),
  )
})
