import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type MoeConfig, moeSchema } from '../../model/config.ts'
import { capacityOf as trainedCapacity } from '../../model/routing/capacity.ts'
import { cvOf } from '../inputs/measured-loads.ts'
import { balancedLoads, capacityOf, dealt, loadsWithCv, quantilesOf, rankLoad } from './load.ts'

const moeOf = (over: object = {}): MoeConfig => moeSchema.parse({ experts: 4, ...over })
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length

describe('capacity', () => {
  test.each([
    // C = ⌈k·T/N·γ⌉ of 64 tokens and 4 experts
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
  test('is that of the model that is trained', () => {
    for (const factor of [0.5, 1, 1.1, 1.2, 1.25, 1.5, 2])
      for (const capacity of ['1x', 'kx'])
        for (let tokens = 1; tokens <= 256; tokens++) {
          const moe = moeOf({ experts: 4, k: 2, factor, capacity })
          // An expert gets each token but once, so C ≥ T is the same as no limit.
          const slots = capacityOf(moe, tokens)
          expect({ tokens, slots: slots >= tokens ? null : slots }).toEqual({
            tokens,
            slots: trainedCapacity(moe, tokens, 'train'),
          })
        }
  })
})

// An expert gets each token but once, so it never has more slots than tokens: C = ⌈4·64/4·1.25⌉ = 80 is cut to 64.
test('no expert computes more rows than there are tokens', () => {
  const moe = moeOf({ k: 4, capacity: 'kx', factor: 1.25, compute: 'padded' })
  expect(rankLoad(moe, [1, 1, 1, 1], 1, 64).rows).toBe(4 * 64)
})

// GShard's groups have a capacity each, rounded up each: ⌈64/4·1.01⌉ = 17, ⌈16/4·1.01⌉ = 5.
test('groups of tokens have a capacity each', () => {
  const of = (groups: number) => rankLoad(moeOf({ groups, factor: 1.01, compute: 'padded' }), [1, 1, 1, 1], 1, 64).rows
  expect(of(1)).toBe(4 * 17)
  expect(of(4)).toBe(4 * 4 * 5)
  // A group of 2 tokens: at least a slot an expert.
  expect(of(32)).toBe(4 * 32 * 1)
})

test('buffers of one-hot dispatch are padded, whatever compute says', () => {
  const ragged = moeOf({ compute: 'ragged', factor: 1.25 })
  const padded = moeOf({ compute: 'padded', factor: 1.25 })
  const loads = [2, 1, 1, 0]
  expect(rankLoad(ragged, loads, 2, 8, true)).toEqual(rankLoad(padded, loads, 2, 8))
  expect(rankLoad(ragged, loads, 2, 8)).not.toEqual(rankLoad(padded, loads, 2, 8))
})

describe('what a rank has to do', () => {
  // 8 tokens a rank choose one of 4 experts: 4, 2, 2 and 0 of them. Two ranks with two experts each get both's tokens.
  const loads = [2, 1, 1, 0]
  const of = (over: object) => rankLoad(moeOf(over), loads, 2, 8)

  test('padded experts compute every slot, full or not', () => {
    // C = 2: 2 + 2 + 2 + 0 of 8 are kept, in 2 · 2 · 2 slots of each rank.
    expect(of({ factor: 1, compute: 'padded' })).toEqual({
      rows: 8,
      dropped: 2 / 8,
      padding: 2 / 8,
      imbalance: 1,
    })
    // C = ⌈2.5⌉ = 3: 3 + 2 + 2 + 0.
    const wider = of({ factor: 1.25, compute: 'padded' })
    expect(wider).toMatchObject({ rows: 12, dropped: 1 / 8, imbalance: 1 })
    expect(wider.padding).toBeCloseTo(5 / 12, 12)
  })

  test('ragged experts compute what they keep, and the busiest rank is waited for', () => {
    const narrow = of({ factor: 1, compute: 'ragged' })
    expect(narrow).toMatchObject({ rows: 8, dropped: 2 / 8, padding: 0 })
    expect(narrow.imbalance).toBeCloseTo(4 / 3, 12)
    const wider = of({ factor: 1.25, compute: 'ragged' })
    expect(wider).toMatchObject({ rows: 10, dropped: 1 / 8, padding: 0 })
    expect(wider.imbalance).toBeCloseTo(5 / 3.5, 12)
  })

  test('without capacity nothing is dropped, and the busiest rank computes all that chose it', () => {
    expect(of({ capacity: 'none' })).toEqual({ rows: 12, dropped: 0, padding: 0, imbalance: 1.5 })
  })

  test('auto means padded for capacity 1x, ragged for kx', () => {
    expect(of({ capacity: '1x', factor: 1 })).toEqual(of({ capacity: '1x', factor: 1, compute: 'padded' }))
    expect(of({ capacity: 'kx', factor: 1 })).toEqual(of({ capacity: 'kx', factor: 1, compute: 'ragged' }))
  })

  test('one rank with all experts computes all assignments, however uneven', () => {
    expect(rankLoad(moeOf({ capacity: 'none' }), loads, 1, 8)).toMatchObject({ rows: 8, imbalance: 1 })
  })

  test('experts that choose take their capacity, and drop nothing', () => {
    const chosen = of({ router: 'expert-choice', factor: 1, k: 1 })
    expect(chosen).toMatchObject({ rows: 8, dropped: 0, padding: 0, imbalance: 1 })
  })

  test('capacity 1x keeps the rows of top-1 whatever k is; kx has k times as many', () => {
    const rows = (over: object) => rankLoad(moeOf({ ...over, compute: 'padded' }), [1, 1, 1, 1], 2, 64).rows
    expect(rows({ k: 2, capacity: '1x' })).toBe(rows({ k: 1 }))
    expect(rows({ k: 2, capacity: 'kx' })).toBe(2 * rows({ k: 1 }))
  })

  test('more tokens for any expert are never less work for the slowest rank', () => {
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

  test('what is kept, dropped and padded adds up', () => {
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

  test('have mean 1, and nearly that c_v', () => {
    for (const cv of [0.1, 0.3, 0.5, 1]) {
      const loads = loadsWithCv(moe, cv)(0, 'ffn')
      expect(loads).toHaveLength(256)
      expect(mean(loads)).toBeCloseTo(1, 12)
      expect(Math.abs(cvOf(loads) / cv - 1)).toBeLessThan(0.05)
      expect(Math.min(...loads)).toBeGreaterThanOrEqual(0)
    }
  })

  test('make the busiest rank busier the more uneven they are, when every rank has one expert', () => {
    const dropless = moeOf({ experts: 16, capacity: 'none' })
    let before = 0
    for (let cv = 0; cv < 3; cv += 0.05) {
      const { rows } = rankLoad(dropless, loadsWithCv(dropless, cv)(1, 'ffn'), 16, 1024)
      expect(rows).toBeGreaterThanOrEqual(before)
      before = rows
    }
  })

  test('of zero are even', () => {
    expect(loadsWithCv(moe, 0)(0, 'ffn')).toEqual(balancedLoads(moe)(0, 'ffn'))
    expect(new Set(loadsWithCv(moe, 0)(3, 'qkv'))).toEqual(new Set([1]))
  })

  test('are the same when asked again, and fall on other experts in other layers', () => {
    const loads = loadsWithCv(moe, 0.5)
    const again = loadsWithCv(moe, 0.5)
    expect(again(1, 'ffn')).toEqual(loads(1, 'ffn'))
    expect(loads(1, 'ffn')).not.toEqual(loads(0, 'ffn'))
    const sorted = (layer: number) => [...loads(layer, 'ffn')].sort((a, b) => a - b)
    expect(sorted(1)).toEqual(sorted(0))
  })

  test('are finite when nearly all tokens choose one expert', () => {
    const loads = loadsWithCv(moe, 20)(0, 'ffn')
    expect(mean(loads)).toBeCloseTo(1, 9)
    expect(loads.every(Number.isFinite)).toBe(true)
  })
})

test('dealing loads changes their order alone', () => {
  const loads = [0.1, 0.4, 1, 2.5]
  expect([...dealt(loads, 'a')].sort()).toEqual(loads)
})

test('as many quantiles as there are loads are the loads', () => {
  const loads = [2, 0.5, 1, 0.5]
  expect(quantilesOf(loads, 4)).toEqual([0.5, 0.5, 1, 2])
})

test('a distribution keeps its mean, and about its c_v, with more experts', () => {
  const loads = loadsWithCv(moeOf({ experts: 64 }), 0.5)(0, 'ffn')
  const more = quantilesOf(loads, 256)
  expect(mean(more)).toBeCloseTo(1, 12)
  expect(Math.abs(cvOf(more) / cvOf(loads) - 1)).toBeLessThan(0.05)
})
