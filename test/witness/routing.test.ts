/** Compares the sparse layer with calculations by hand: choices, gates, capacity, mixture, and the router's losses. */
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { type MoeConfig, moeSchema } from '../../src/core/model/config/moe-config.ts'
import type { Matrix } from './arithmetic.ts'
import { mixture } from './experts.ts'
import { balanceLoss, crossEntropy, routerEntropy, routerZLoss } from './losses.ts'
import { type Assignment, capacityOf, chooseTopK, route, serve, sinkhorn, updatedBias } from './routing.ts'

const moeOf = (settings: z.input<typeof moeSchema>): MoeConfig => moeSchema.parse(settings)
const { log: ln } = Math

/** Expects that every number is within 1e-12 of the expected one. */
function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length)
  for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 12)
}

describe('choices and gates', () => {
  // p = 1/8, 2/8, 5/8
  const logits = [ln(1), ln(2), ln(5)]

  test('the gate is a probability over all experts with softmax before, and over the chosen ones with softmax after', () => {
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

  test('among equal scores the lower expert id comes first', () => {
    const chosen = chooseTopK([0, 1, 0, 1], { k: 3, softmax: 'before', renormalize: false })
    expect(chosen.map(({ expert }) => expert)).toEqual([1, 3, 0])
  })

  test('a sigmoid gate depends on its own logit, is divided by the sum of the chosen gates, and then scaled', () => {
    // σ = 1/2, 3/4, 1/4
    const odds = [ln(1), ln(3), ln(1 / 3)]
    const gatesOf = (settings: { renormalize: boolean; routedScale?: number }) => {
      const chosen = chooseTopK(odds, { k: 2, softmax: 'before', scores: 'sigmoid', ...settings })
      expect(chosen.map(({ expert }) => expert)).toEqual([1, 0])
      return chosen.map(({ gate }) => gate)
    }
    expectClose(gatesOf({ renormalize: false }), [3 / 4, 1 / 2])
    expectClose(gatesOf({ renormalize: true }), [3 / 5, 2 / 5])
    expectClose(gatesOf({ renormalize: true, routedScale: 2.5 }), [3 / 2, 1])
  })

  test('experts outside the best groups are not chosen, and a group counts by its best expert or by its best two', () => {
    // σ = 3/4 1/4 1/5 | 3/5 1/2 1/2
    const odds = [3, 1 / 3, 1 / 4, 3 / 2, 1, 1].map(ln)
    const expertsOf = (groups: { groupsPerToken?: number; groupScore?: 'max' | 'top-2' }, bias?: number[]) =>
      chooseTopK(
        odds,
        { k: 2, softmax: 'before', renormalize: false, scores: 'sigmoid', expertGroups: 2, ...groups },
        bias && { bias },
      ).map(({ expert }) => expert)
    expect(expertsOf({ groupScore: 'max' })).toEqual([0, 1])
    // 3/4 + 1/4 is less than 3/5 + 1/2.
    expect(expertsOf({ groupScore: 'top-2' })).toEqual([3, 4])
    expect(expertsOf({ groupsPerToken: 2 })).toEqual([0, 3])
    // Biases choose groups too.
    expect(expertsOf({ groupScore: 'max' }, [0, 0, 0, 0, 0, 1])).toEqual([5, 3])
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

describe('choices that depend on more than the token', () => {
  // Weights 2, 2 and 3, 1: both tokens choose expert 0.
  const logits = [
    [ln(2), ln(2)],
    [ln(3), ln(1)],
  ]
  const x = [
    [1, 0],
    [0, 1],
  ]
  const chosenBy = (settings: z.input<typeof moeSchema>, training: boolean, bias?: number[]) =>
    route(x, logits, undefined, moeOf({ experts: 2, capacity: 'none', ...settings }), training, bias).assignments

  test('an iteration of Sinkhorn scales rows to 1/T, then columns to 1/N', () => {
    // Rows: ¼ ¼ and ⅜ ⅛, with sums ⅝ and ⅜ over the columns.
    expectClose(sinkhorn(logits, 1).flat().map(Math.exp), [1 / 5, 1 / 3, 3 / 10, 1 / 6])
    // It converges to equal row sums too, and keeps the ratio 2·1 : 2·3 of the products of the diagonals.
    const [a = 0, b = 0, c = 0, d = 0] = sinkhorn(logits, 60).flat().map(Math.exp)
    expectClose([a + b, c + d, a + c, b + d], [0.5, 0.5, 0.5, 0.5])
    expect((b * c) / (a * d)).toBeCloseTo(3, 12)
  })

  test('the Sinkhorn router balances the tokens of a group in training only, and keeps their own gates', () => {
    const spread = chosenBy({ router: 'sinkhorn', sinkhornIterations: 1 }, true)
    expect(spread.map(({ expert }) => expert)).toEqual([1, 0])
    expectClose(
      spread.map(({ gate }) => gate),
      [1 / 2, 3 / 4],
    )
    expect(chosenBy({ router: 'sinkhorn' }, false).map(({ expert }) => expert)).toEqual([0, 0])
    // A token alone in its group competes with no other token.
    expect(chosenBy({ router: 'sinkhorn', groups: 2 }, true).map(({ expert }) => expert)).toEqual([0, 0])
  })

  test('a bias changes the chosen experts but not the gate', () => {
    // Probabilities ½ ½ and ¾ ¼.
    const before = chosenBy({ router: 'bias' }, true, [0, 0.25])
    expect(before.map(({ expert }) => expert)).toEqual([1, 0])
    expectClose(
      before.map(({ gate }) => gate),
      [1 / 2, 3 / 4],
    )
    const far = chosenBy({ router: 'bias', softmax: 'after', k: 2 }, false, [0, 5])
    expect(far.map(({ expert }) => expert)).toEqual([1, 0, 1, 0])
    expectClose(
      far.map(({ gate }) => gate),
      [1 / 2, 1 / 2, 1 / 4, 3 / 4],
    )
  })

  test('a bias moves by the rate against the load, and not at the mean load', () => {
    expectClose(updatedBias([0, 1, 2, 3], [4, 0, 2, 2], 0.1), [-0.1, 1.1, 2, 3])
  })

  test('experts take the tokens with the largest gates in every group, and among equal gates the earlier token', () => {
    const moe = { router: 'expert-choice', capacity: '1x', factor: 1, experts: 2 } as const
    const taken = (settings: z.input<typeof moeSchema>) =>
      chosenBy({ ...moe, ...settings }, true).map(({ expert, token, gate }) => [expert, token, gate])
    // Token 1 has the largest gate of expert 0 and the smallest of expert 1.
    expect(taken({})).toEqual([
      [0, 1, expect.closeTo(3 / 4, 12)],
      [1, 0, expect.closeTo(1 / 2, 12)],
    ])
    // k = 2 with a factor of ½ also gives one token per expert.
    expect(taken({ capacity: 'kx', k: 2, factor: 0.5 })).toHaveLength(2)
    const alone = route([[1], [1]], [[0, 0]], undefined, moeOf(moe), true)
    expect(alone.assignments.map(({ token }) => token)).toEqual([0, 0])
    expect(taken({ groups: 2 })).toHaveLength(4)
  })
})

describe('capacity', () => {
  test('kx grows with the activated experts, 1x does not, and `none` has no limit', () => {
    const settings = { experts: 4, k: 2, factor: 1.25, evalFactor: 2 }
    // 2·8/4·1.25 = 5; 8/4·1.25 = 2.5; in evaluation 2·8/4·2 = 8.
    expect(capacityOf(moeOf({ ...settings, capacity: 'kx' }), 8, 2, 'train')).toBe(5)
    expect(capacityOf(moeOf({ ...settings, capacity: '1x' }), 8, 2, 'train')).toBe(3)
    expect(capacityOf(moeOf({ ...settings, capacity: 'kx' }), 8, 2, 'eval')).toBe(8)
    expect(capacityOf(moeOf({ ...settings, capacity: 'none' }), 8, 2, 'train')).toBeNull()
    expect(capacityOf(moeOf({ ...settings, capacity: '1x' }), 8, 2, 'none')).toBeNull()
  })

  test('rounding errors do not add a seat', () => {
    expect((100 / 2) * 1.1).toBeGreaterThan(55)
    expect(capacityOf(moeOf({ experts: 2, capacity: '1x', factor: 1.1 }), 100, 1, 'train')).toBe(55)
  })

  test('an expert has at least one seat and at most one per token', () => {
    expect(capacityOf(moeOf({ experts: 64, factor: 0.1 }), 4, 1, 'train')).toBe(1)
    expect(capacityOf(moeOf({ experts: 2, k: 2, factor: 5 }), 4, 2, 'train')).toBe(4)
  })

  test('each priority has its own order of service', () => {
    // All three tokens choose both experts: (token, choice, expert, gate).
    const rows: [number, number, number, number][] = [
      [0, 0, 0, 0.6],
      [0, 1, 1, 0.4],
      [1, 0, 1, 0.9],
      [1, 1, 0, 0.1],
      [2, 0, 0, 0.7],
      [2, 1, 1, 0.3],
    ]
    const served = (priority: Exclude<MoeConfig['priority'], 'position'>, capacity: number | null) => {
      const assignments: Assignment[] = rows.map(([token, choice, expert, gate]) => ({
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

  test('kx counts the experts of all prototypes', () => {
    const moe = moeOf({ router: 'prototype', prototypes: 2, experts: 4, k: 1, factor: 1 })
    // Four tokens with two of four experts each need two seats. One prototype alone would give one seat.
    expect(route([[1], [1], [1], [1]], [[1, 0, 1, 0]], undefined, moe, true).capacity).toBe(2)
  })

  test('each group has its own seats', () => {
    const moe = moeOf({ experts: 2, capacity: '1x', factor: 1, groups: 2, priority: 'token' })
    // All four tokens choose expert 0, which has one seat in each group of two.
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

  test('two experts are mixed ¾ to ¼', () => {
    const { assignments } = route([[10]], router, undefined, moeOf({ experts: 2, k: 2, capacity: 'none' }), true)
    expectClose(mixture([[10]], assignments, experts, null).flat(), [0.75 * 20 - 0.25 * 20])
  })

  test('a dropped token gets only the shared expert', () => {
    const moe = moeOf({ experts: 2, k: 1, capacity: '1x', factor: 1, priority: 'token' })
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

  test('the balance loss is computed by group, then averaged', () => {
    const balanceOf = (groups: number) => {
      const moe = moeOf({ experts: 2, groups })
      return balanceLoss(route([[1], [-1]], [[ln(3), 0]], undefined, moe, true), moe)
    }
    // Each group alone is unbalanced (2·¾); together the two tokens balance.
    expect(balanceOf(2)).toBeCloseTo(1.5, 12)
    expect(balanceOf(1)).toBeCloseTo(1, 12)
  })

  test('with prototypes every loss is the mean over the prototypes', () => {
    const moe = moeOf({ router: 'prototype', prototypes: 2, experts: 4 })
    const routing = route([[1]], [[ln(3), 0, 0, 0]], undefined, moe, true)
    // Prototype 0: p = ¾, ¼; prototype 1: ½, ½.
    expect(balanceLoss(routing, moe)).toBeCloseTo((2 * 0.75 + 2 * 0.5) / 2, 12)
    expect(routerZLoss(routing)).toBeCloseTo((ln(4) ** 2 + ln(2) ** 2) / 2, 12)
    expect(routerEntropy(routing)).toBeCloseTo((0.75 * ln(4 / 3) + 0.25 * ln(4) + ln(2)) / 2, 12)
  })

  test('the balance loss uses the same probabilities with softmax before and after', () => {
    const balanceOf = (softmax: 'before' | 'after') => {
      const moe = moeOf({ experts: 3, k: 1, softmax })
      return balanceLoss(route([[1]], [[ln(5), ln(2), 0]], undefined, moe, true), moe)
    }
    expect(balanceOf('before')).toBeCloseTo((3 * 5) / 8, 12)
    expect(balanceOf('after')).toBe(balanceOf('before'))
  })

  test('with sigmoid scores, a probability is the share of a score among all, and the z-loss is as with softmax', () => {
    const moe = moeOf({ experts: 2, scores: 'sigmoid' })
    // σ = ¾, ½: shares of ⅗ and ⅖.
    const routing = route([[1]], [[ln(3), 0]], undefined, moe, true)
    expect(balanceLoss(routing, moe)).toBeCloseTo((2 * 3) / 5, 12)
    expect(routerEntropy(routing, moe)).toBeCloseTo(0.6 * ln(5 / 3) + 0.4 * ln(5 / 2), 12)
    expect(routerZLoss(routing)).toBeCloseTo(ln(4) ** 2, 12)
  })
})
