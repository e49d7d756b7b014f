import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type MoeConfig, moeSchema } from '../../../core/model/config/moe-config.ts'
import { capacityOf as trainedCapacity } from '../../../core/model/routing/capacity.ts'
import { balancedLoads, capacityOf, loadsWithCv, quantilesOf, rankLoad, shuffled } from './load.ts'
import { cvOf } from './measured-loads.ts'

const moeOf = (over: object = {}): MoeConfig => moeSchema.parse({ experts: 4, ...over })
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length

describe('capacity', () => {
  test.each([
    // The capacity is C = ⌈k·T/N·γ⌉ for 64 tokens and 4 experts.
    [{ k: 1, capacity: 'kx', factor: 1 }, 16],
    [{ k: 2, capacity: 'kx', factor: 1 }, 32],
    [{ k: 2, capacity: '1x', factor: 1 }, 16],
    [{ k: 1, capacity: 'kx', factor: 1.25 }, 20],
    [{ k: 1, capacity: 'kx', factor: 1.01 }, 17],
    [{ router: 'prototype', prototypes: 2, k: 1, capacity: 'kx', factor: 1 }, 32],
    [{ router: 'prototype', prototypes: 2, k: 1, capacity: '1x', factor: 1 }, 16],
    [{ capacity: 'none' }, Number.POSITIVE_INFINITY],
  ])('of %j is %d', (over, slots) => {
    expect(capacityOf(moeOf(over), 64)).toBe(slots)
  })

  // 50·1.1 is 55.00000000000001 in floating point, and 55 slots in the model.
  test('is the same as in training', () => {
    for (const factor of [0.5, 1, 1.1, 1.2, 1.25, 1.5, 2])
      for (const capacity of ['1x', 'kx'])
        for (let tokens = 1; tokens <= 256; tokens++) {
          const moe = moeOf({ experts: 4, k: 2, factor, capacity })
          // An expert gets each token at most once, so C ≥ T is no limit.
          const slots = capacityOf(moe, tokens)
          expect({ tokens, slots: slots >= tokens ? null : slots }).toEqual({
            tokens,
            slots: trainedCapacity(moe, tokens, 'train'),
          })
        }
  })
})

// An expert gets each token at most once, so it never needs more slots than tokens: C = ⌈4·64/4·1.25⌉ = 80 becomes 64.
test('no expert computes more rows than there are tokens', () => {
  const moe = moeOf({ k: 4, capacity: 'kx', factor: 1.25, compute: 'padded' })
  expect(rankLoad(moe, [1, 1, 1, 1], 1, 64).rows).toBe(4 * 64)
})

// As in GShard, the capacity of each group is rounded up: ⌈64/4·1.01⌉ = 17, ⌈16/4·1.01⌉ = 5.
test('every group of tokens has its own capacity', () => {
  const of = (groups: number) => rankLoad(moeOf({ groups, factor: 1.01, compute: 'padded' }), [1, 1, 1, 1], 1, 64).rows
  expect(of(1)).toBe(4 * 17)
  expect(of(4)).toBe(4 * 4 * 5)
  // A group of 2 tokens has at least one slot per expert.
  expect(of(32)).toBe(4 * 32 * 1)
})

test('buffers of one-hot dispatch are padded, for any moe.compute', () => {
  const ragged = moeOf({ compute: 'ragged', factor: 1.25 })
  const padded = moeOf({ compute: 'padded', factor: 1.25 })
  const loads = [2, 1, 1, 0]
  expect(rankLoad(ragged, loads, 2, 8, { padded: true })).toEqual(rankLoad(padded, loads, 2, 8))
  expect(rankLoad(ragged, loads, 2, 8)).not.toEqual(rankLoad(padded, loads, 2, 8))
})

describe('the work of a rank', () => {
  // 8 tokens of each rank choose among 4 experts, which get 4, 2, 2 and 0 of them. Two ranks have two experts each, and
  // get the tokens of both ranks.
  const loads = [2, 1, 1, 0]
  const of = (over: object) => rankLoad(moeOf(over), loads, 2, 8)

  test('of padded experts is every slot, full or empty', () => {
    // With C = 2, experts keep 2 + 2 + 2 + 0 of 8 tokens, in 2 · 2 · 2 slots of each rank.
    expect(of({ factor: 1, compute: 'padded' })).toMatchObject({
      rows: 8,
      dropped: 2 / 8,
      padding: 2 / 8,
      imbalance: 1,
    })
    // With C = ⌈2.5⌉ = 3, they keep 3 + 2 + 2 + 0.
    const wider = of({ factor: 1.25, compute: 'padded' })
    expect(wider).toMatchObject({ rows: 12, dropped: 1 / 8, imbalance: 1 })
    expect(wider.padding).toBeCloseTo(5 / 12, 12)
  })

  test('of ragged experts is the rows kept by the busiest rank', () => {
    const narrow = of({ factor: 1, compute: 'ragged' })
    expect(narrow).toMatchObject({ rows: 8, dropped: 2 / 8, padding: 0 })
    expect(narrow.imbalance).toBeCloseTo(4 / 3, 12)
    const wider = of({ factor: 1.25, compute: 'ragged' })
    expect(wider).toMatchObject({ rows: 10, dropped: 1 / 8, padding: 0 })
    expect(wider.imbalance).toBeCloseTo(5 / 3.5, 12)
  })

  test('without capacity is all tokens of the busiest rank; nothing is dropped', () => {
    expect(of({ capacity: 'none' })).toMatchObject({ rows: 12, dropped: 0, padding: 0, imbalance: 1.5 })
  })

  test('with auto equals the work of padded experts for capacity 1x, and of ragged experts for kx', () => {
    expect(of({ capacity: '1x', factor: 1 })).toEqual(of({ capacity: '1x', factor: 1, compute: 'padded' }))
    expect(of({ capacity: 'kx', factor: 1 })).toEqual(of({ capacity: 'kx', factor: 1, compute: 'ragged' }))
  })

  test('with all experts on one rank is all assignments, however uneven', () => {
    expect(rankLoad(moeOf({ capacity: 'none' }), loads, 1, 8)).toMatchObject({ rows: 8, imbalance: 1 })
  })

  test('with expert choice is the capacity; nothing is dropped', () => {
    const chosen = of({ router: 'expert-choice', factor: 1, k: 1 })
    expect(chosen).toMatchObject({ rows: 8, dropped: 0, padding: 0, imbalance: 1 })
  })

  test('with capacity 1x equals the work of top-1 for any k; with kx it is k times as much', () => {
    const rows = (over: object) => rankLoad(moeOf({ ...over, compute: 'padded' }), [1, 1, 1, 1], 2, 64).rows
    expect(rows({ k: 2, capacity: '1x' })).toBe(rows({ k: 1 }))
    expect(rows({ k: 2, capacity: 'kx' })).toBe(2 * rows({ k: 1 }))
  })

  test('does not fall if any expert gets more tokens', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 8, noNaN: true }), { minLength: 8, maxLength: 8 }),
        fc.nat({ max: 7 }),
        fc.double({ min: 0, max: 4, noNaN: true }),
        fc.constantFrom(1, 2, 4, 8),
        fc.constantFrom({ capacity: 'none' }, { compute: 'padded' }, { compute: 'ragged' }),
        (before, expert, more, ranks, over) => {
          const moe = moeOf({ experts: 8, ...over })
          const after = before.map((load, e) => (e === expert ? load + more : load))
          expect(rankLoad(moe, after, ranks, 32).rows).toBeGreaterThanOrEqual(rankLoad(moe, before, ranks, 32).rows)
        },
      ),
    )
  })

  test('adds up from kept, dropped and padded rows', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 8, maxLength: 8 }).filter((each) => mean(each) > 0),
        fc.double({ min: 0.1, max: 3, noNaN: true }),
        fc.constantFrom(1, 2, 4, 8),
        (counts, factor, ranks) => {
          const moe = moeOf({ experts: 8, compute: 'padded', factor })
          const tokens = counts.reduce((a, b) => a + b, 0)
          const even = mean(counts)
          const { rows, dropped, padding } = rankLoad(
            moe,
            counts.map((each) => each / even),
            ranks,
            tokens,
          )
          expect(rows * (1 - padding)).toBeCloseTo(tokens * (1 - dropped), 6)
          expect(padding).toBeGreaterThanOrEqual(-1e-12)
          expect(padding).toBeLessThanOrEqual(1)
        },
      ),
    )
  })
})

describe('loads of a given c_v', () => {
  const moe = moeOf({ experts: 256 })

  test('have mean 1 and nearly the given c_v', () => {
    for (const cv of [0.1, 0.3, 0.5, 1]) {
      const loads = loadsWithCv(moe, cv)(0, 'ffn')
      expect(loads).toHaveLength(256)
      expect(mean(loads)).toBeCloseTo(1, 12)
      expect(Math.abs(cvOf(loads) / cv - 1)).toBeLessThan(0.05)
      expect(Math.min(...loads)).toBeGreaterThanOrEqual(0)
    }
  })

  test('give the busiest rank more work the more uneven they are, if every rank has one expert', () => {
    const dropless = moeOf({ experts: 16, capacity: 'none' })
    let before = 0
    for (let cv = 0; cv < 3; cv += 0.05) {
      const { rows } = rankLoad(dropless, loadsWithCv(dropless, cv)(1, 'ffn'), 16, 1024)
      expect(rows).toBeGreaterThanOrEqual(before)
      before = rows
    }
  })

  test('of zero are even', () => {
    expect(loadsWithCv(moe, 0)(0, 'ffn')).toEqual(balancedLoads({ moe })(0, 'ffn'))
    expect(new Set(loadsWithCv(moe, 0)(3, 'qkv'))).toEqual(new Set([1]))
  })

  test('are reproducible, and differ in order between layers', () => {
    const loads = loadsWithCv(moe, 0.5)
    const repeated = loadsWithCv(moe, 0.5)
    expect(repeated(1, 'ffn')).toEqual(loads(1, 'ffn'))
    expect(loads(1, 'ffn')).not.toEqual(loads(0, 'ffn'))
    const sorted = (layer: number) => [...loads(layer, 'ffn')].sort((a, b) => a - b)
    expect(sorted(1)).toEqual(sorted(0))
  })

  test('are finite if nearly all tokens choose one expert', () => {
    const loads = loadsWithCv(moe, 20)(0, 'ffn')
    expect(mean(loads)).toBeCloseTo(1, 9)
    expect(loads.every(Number.isFinite)).toBe(true)
  })
})

test('shuffling loads changes only their order', () => {
  const loads = [0.1, 0.4, 1, 2.5]
  expect([...shuffled(loads, 'a')].sort()).toEqual(loads)
})

test('n quantiles of n loads are the loads', () => {
  const loads = [2, 0.5, 1, 0.5]
  expect(quantilesOf(loads, 4)).toEqual([0.5, 0.5, 1, 2])
})

test('a distribution of loads keeps its mean, and nearly its c_v, with more experts', () => {
  const loads = loadsWithCv(moeOf({ experts: 64 }), 0.5)(0, 'ffn')
  const more = quantilesOf(loads, 256)
  expect(mean(more)).toBeCloseTo(1, 12)
  expect(Math.abs(cvOf(more) / cvOf(loads) - 1)).toBeLessThan(0.05)
})
