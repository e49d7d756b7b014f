/** The sparse layer by pencil: choices, gates, capacity, the mixture, and the router's losses. */
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { type MoeConfig, moeSchema } from '../../src/model/config.ts'
import type { Matrix } from './arithmetic.ts'
import { mixture } from './experts.ts'
import { balanceLoss, crossEntropy, routerEntropy, routerZLoss } from './losses.ts'
import { type Assignment, capacityOf, chooseTopK, route, serve } from './routing.ts'

const moeOf = (settings: z.input<typeof moeSchema>): MoeConfig => moeSchema.parse(settings)
const { log: ln } = Math

/** Every number within 1e-12 of the expected one. */
function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length)
  for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 12)
}

describe('choices and gates', () => {
  // p = 1/8, 2/8, 5/8
  const logits = [ln(1), ln(2), ln(5)]

  test('softmax before the top k gives probabilities among all experts, after it among the chosen', () => {
    const gatesOf = (softmax: 'before' | 'after', renormalize: boolean) => {
      const chosen = chooseTopK(logits, { k: 2, softmax, renormalize })
      expect(chosen.map(({ expert }) => expert)).toEqual([2, 1])
      return chosen.map(({ gate }) => gate)
    }
    expectClose(gatesOf('before', false), [5 / 8, 2 / 8])
    expectClose(gatesOf('before', true), [5 / 7, 2 / 7])
    expectClose(gatesOf('after', false), [5 / 7, 2 / 7])
    expectClose(gatesOf('after', true), [5 / 7, 2 / 7])
  })

  test('of equal scores the lower expert id comes first', () => {
    const chosen = chooseTopK([0, 1, 0, 1], { k: 3, softmax: 'before', renormalize: false })
    expect(chosen.map(({ expert }) => expert)).toEqual([1, 3, 0])
  })

  test('each prototype routes on its own columns, and a token is listed prototype by prototype', () => {
    const moe = moeOf({ router: 'prototype', prototypes: 2, experts: 4, k: 1, capacity: 'none' })
    const routing = route([[1]], [[ln(3), ln(1), ln(1), ln(4)]], undefined, moe, true)
    expect(routing.assignments.map(({ expert }) => expert)).toEqual([0, 3])
    expectClose(
      routing.assignments.map(({ gate }) => gate),
      [3 / 4, 4 / 5],
    )
  })

  test('hash and random take the experts they are given, with gate 1/k', () => {
    const moe = moeOf({ router: 'hash', experts: 3, k: 2, capacity: 'none' })
    const { assignments, logits: none } = route([[1]], null, Int32Array.of(2, 0), moe, true)
    expect(assignments.map(({ expert, gate }) => [expert, gate])).toEqual([
      [2, 0.5],
      [0, 0.5],
    ])
    expect(none).toBeNull()
    expect(() => route([[1]], null, Int32Array.of(2, 3), moe, true)).toThrow('invalid expert id: 3')
  })
})

describe('capacity', () => {
  test('kx grows with the activated experts, 1x does not, none has no limit', () => {
    const settings = { experts: 4, k: 2, factor: 1.25, evalFactor: 2 }
    // 2·8/4·1.25 = 5; 8/4·1.25 = 2.5; in evaluation 2·8/4·2 = 8.
    expect(capacityOf(moeOf({ ...settings, capacity: 'kx' }), 8, 2, true)).toBe(5)
    expect(capacityOf(moeOf({ ...settings, capacity: '1x' }), 8, 2, true)).toBe(3)
    expect(capacityOf(moeOf({ ...settings, capacity: 'kx' }), 8, 2, false)).toBe(8)
    expect(capacityOf(moeOf({ ...settings, capacity: 'none' }), 8, 2, true)).toBeNull()
  })

  test('rounding noise does not add a seat', () => {
    expect((100 / 2) * 1.1).toBeGreaterThan(55)
    expect(capacityOf(moeOf({ experts: 2, capacity: '1x', factor: 1.1 }), 100, 1, true)).toBe(55)
  })

  test('an expert has at least one seat, and never more than there are tokens', () => {
    expect(capacityOf(moeOf({ experts: 64, factor: 0.1 }), 4, 1, true)).toBe(1)
    expect(capacityOf(moeOf({ experts: 2, k: 2, factor: 5 }), 4, 2, true)).toBe(4)
  })

  test('each priority serves its own order when an expert has one seat', () => {
    // Both experts are wanted by all three tokens; (token, choice, expert, gate).
    const wishes: [number, number, number, number][] = [
      [0, 0, 0, 0.6],
      [0, 1, 1, 0.4],
      [1, 0, 1, 0.9],
      [1, 1, 0, 0.1],
      [2, 0, 0, 0.7],
      [2, 1, 1, 0.3],
    ]
    const served = (priority: MoeConfig['priority'], capacity: number | null) => {
      const assignments: Assignment[] = wishes.map(([token, choice, expert, gate]) => ({
        token,
        choice,
        expert,
        gate,
        kept: false,
      }))
      serve(assignments, 2, capacity, priority)
      return [0, 1].map((expert) => assignments.filter((a) => a.kept && a.expert === expert).map((a) => a.token))
    }
    expect(served('choice', 1)).toEqual([[0], [1]])
    expect(served('token', 1)).toEqual([[0], [0]])
    expect(served('gate', 1)).toEqual([[2], [1]])
    expect(served('choice', 2)).toEqual([
      [0, 2],
      [0, 1],
    ])
    expect(served('token', null)).toEqual([
      [0, 1, 2],
      [0, 1, 2],
    ])
  })

  test('equal gates are served by token', () => {
    const assignments = [1, 0].map((token) => ({ token, choice: 0, expert: 0, gate: 0.5, kept: false }))
    serve(assignments, 1, 1, 'gate')
    expect(assignments.map(({ kept }) => kept)).toEqual([false, true])
  })

  test('with prototypes kx counts the experts of all of them', () => {
    const moe = moeOf({ router: 'prototype', prototypes: 2, experts: 4, k: 1, factor: 1 })
    // Two of four experts a token, four tokens: two seats; one alone would give one.
    expect(route([[1], [1], [1], [1]], [[1, 0, 1, 0]], undefined, moe, true).capacity).toBe(2)
  })

  test('groups have seats of their own', () => {
    const moe = moeOf({ experts: 2, capacity: '1x', factor: 1, groups: 2 })
    // All four tokens want expert 0: one seat in each group of two.
    const x = [[1], [1], [1], [1]]
    const { assignments, capacity } = route(x, [[1, 0]], undefined, moe, true)
    expect(capacity).toBe(1)
    expect(assignments.map(({ kept }) => kept)).toEqual([true, false, true, false])
  })
})

describe('mixture', () => {
  // gelu(10) = 10 and gelu(20) = 20 to the last bit: E_0(10) = 20, E_1(10) = -20.
  const experts = [
    { up: [[1]], gate: null, down: [[2]] },
    { up: [[2]], gate: null, down: [[-1]] },
  ]
  const router: Matrix = [[ln(3) / 10, 0]]

  test('two experts by pencil: ¾ of one and ¼ of the other', () => {
    const { assignments } = route([[10]], router, undefined, moeOf({ experts: 2, k: 2, capacity: 'none' }), true)
    expectClose(mixture([[10]], assignments, experts, null).flat(), [0.75 * 20 - 0.25 * 20])
  })

  test('a dropped token gets nothing but the shared expert', () => {
    const moe = moeOf({ experts: 2, k: 1, capacity: '1x', factor: 1 })
    const x = [[10], [10]]
    const { assignments } = route(x, router, undefined, moe, true)
    expectClose(mixture(x, assignments, experts, null).flat(), [15, 0])
    expectClose(mixture(x, assignments, experts, { up: [[1]], gate: null, down: [[1]] }).flat(), [25, 10])
  })
})

describe('losses', () => {
  test('cross-entropy is the mean over counted targets', () => {
    const logits = [
      [0, 0],
      [ln(3), 0],
      [9, 0],
    ]
    expect(crossEntropy(logits, Int32Array.of(0, 0, -1))).toBeCloseTo((ln(2) + ln(4 / 3)) / 2, 12)
  })

  test('Switch counts every choice, GShard first choices only', () => {
    const balanceOf = (form: 'switch' | 'gshard') => {
      const moe = moeOf({ experts: 2, k: 2, capacity: '1x', factor: 0.5, balance: { form } })
      return balanceLoss(route([[1], [1]], [[ln(3), 0]], undefined, moe, true), moe)
    }
    // P = ¾, ¼ for both tokens. Switch: f = ½, ½. GShard: f = 1, 0.
    expect(balanceOf('switch')).toBeCloseTo(1, 12)
    expect(balanceOf('gshard')).toBeCloseTo(2 * 0.75, 12)
  })

  test('the balance loss is taken group by group, then averaged', () => {
    const balanceOf = (groups: number) => {
      const moe = moeOf({ experts: 2, groups })
      return balanceLoss(route([[1], [-1]], [[ln(3), 0]], undefined, moe, true), moe)
    }
    // Each group alone is one-sided (2·¾); together the two tokens balance.
    expect(balanceOf(2)).toBeCloseTo(1.5, 12)
    expect(balanceOf(1)).toBeCloseTo(1, 12)
  })

  test('with prototypes every loss is the mean of theirs', () => {
    const moe = moeOf({ router: 'prototype', prototypes: 2, experts: 4 })
    const routing = route([[1]], [[ln(3), 0, 0, 0]], undefined, moe, true)
    // Prototype 0: p = ¾, ¼; prototype 1: ½, ½.
    expect(balanceLoss(routing, moe)).toBeCloseTo((2 * 0.75 + 2 * 0.5) / 2, 12)
    expect(routerZLoss(routing)).toBeCloseTo((ln(4) ** 2 + ln(2) ** 2) / 2, 12)
    expect(routerEntropy(routing)).toBeCloseTo((0.75 * ln(4 / 3) + 0.25 * ln(4) + ln(2)) / 2, 12)
  })

  test('the softmax order does not change what the balance loss calls a probability', () => {
    const balanceOf = (softmax: 'before' | 'after') => {
      const moe = moeOf({ experts: 3, k: 1, softmax })
      return balanceLoss(route([[1]], [[ln(5), ln(2), 0]], undefined, moe, true), moe)
    }
    expect(balanceOf('before')).toBeCloseTo((3 * 5) / 8, 12)
    expect(balanceOf('after')).toBe(balanceOf('before'))
  })
})
