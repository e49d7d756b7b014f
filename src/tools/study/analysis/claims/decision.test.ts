/** The rule that decides every claim, as properties over random effects and margins. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { estimateMean } from '../../statistics.ts'
import { effectOf } from '../ratios.ts'
import { type Answer, combineAnswers, decide, intervalOf, pValueOf, regionOf } from './decision.ts'

const small = fc.double({ min: -2, max: 2, noNaN: true })
const values = fc.array(small, { minLength: 2, maxLength: 6 })
const side = fc.constantFrom(-1 as const, 0 as const, 1 as const)
const margins = fc.double({ min: 0.01, max: 1, noNaN: true })
const fresh = { numRuns: 500 }

/** Whether a number is as the claim states, worked out from the words of the claim. */
const isClaimed = (value: number, of: -1 | 0 | 1, margin: number): boolean =>
  of === 0 ? Math.abs(value) <= margin : of * value >= margin

describe('a claim', () => {
  test('holds if every number of the interval is as claimed, and does not hold if no number is', () => {
    fc.assert(
      fc.property(values, side, margins, (all, of, margin) => {
        // Student's interval, computed by other code than the interval of the effect.
        const interval = estimateMean(all)?.interval ?? null
        const effect = effectOf(all)
        if (interval === null || effect === null) return
        const [low, high] = interval
        const inside = Array.from({ length: 201 }, (_, i) => low + ((high - low) * i) / 200)
        const claimed = inside.filter((value) => isClaimed(value, of, margin)).length
        const answer = decide(intervalOf(effect), regionOf(of, margin))
        if (answer === 'holds') expect(claimed).toBe(inside.length)
        if (answer === 'does not hold') expect(claimed).toBe(0)
        if (answer === 'undecided') {
          // An edge of the region lies within the interval.
          const edges = of === 0 ? [-margin, margin] : [of * margin]
          expect(edges.some((edge) => edge >= low - 1e-9 && edge <= high + 1e-9)).toBe(true)
        }
      }),
      fresh,
    )
  })

  test('is decided exactly if its p-value is below 0.05', () => {
    fc.assert(
      fc.property(values, side, margins, (all, of, margin) => {
        const effect = effectOf(all)
        const region = regionOf(of, margin)
        const p = effect && pValueOf(effect, region)
        if (effect === null || p === null || Math.abs(p - 0.05) < 1e-9) return
        expect(decide(intervalOf(effect), region) !== 'undecided').toBe(p < 0.05)
      }),
      fresh,
    )
  })

  test('that is mirrored has the same answer for mirrored numbers', () => {
    fc.assert(
      fc.property(values, side, margins, (all, of, margin) => {
        const [one, other] = [effectOf(all), effectOf(all.map((value) => -value))]
        const mirrored = of === 0 ? 0 : of === 1 ? -1 : 1
        expect(decide(other && intervalOf(other), regionOf(mirrored, margin))).toBe(
          decide(one && intervalOf(one), regionOf(of, margin)),
        )
      }),
      fresh,
    )
  })

  test('without a margin holds exactly if its opposite does not hold', () => {
    fc.assert(
      fc.property(values, (all) => {
        const effect = effectOf(all)
        const interval = effect && intervalOf(effect)
        const [lower, higher] = [decide(interval, regionOf(-1, 0)), decide(interval, regionOf(1, 0))]
        expect(lower === 'holds').toBe(higher === 'does not hold')
        expect(higher === 'holds').toBe(lower === 'does not hold')
      }),
      fresh,
    )
  })

  test('is undecided with one seed, whatever its result', () => {
    const effect = effectOf([-5])
    expect(decide(effect && intervalOf(effect), regionOf(-1, 0))).toBe('undecided')
    expect(effect && pValueOf(effect, regionOf(-1, 0))).toBeNull()
  })

  test('about numbers that are equal for every seed is decided by that number', () => {
    const exactly = (value: number) => {
      const effect = effectOf([value, value, value])
      return decide(effect && intervalOf(effect), regionOf(0, 0.1))
    }
    expect([0, 0.05, 0.2].map(exactly)).toEqual(['holds', 'holds', 'does not hold'])
  })
})

describe('a claim about several contrasts', () => {
  const yes: Answer = 'holds'
  const no: Answer = 'does not hold'
  const open: Answer = 'undecided'

  test.each([
    [[yes, yes], yes, yes],
    [[yes, open], open, open],
    [[yes, no], no, no],
    [[yes, yes, open], open, yes],
    [[yes, yes, no], no, yes],
    [[open, open, no], no, open],
    [[no, no, yes], no, no],
    [[], open, open],
  ])('with the answers %j is answered %s if all must hold, and %s if most must hold', (answers, all, most) => {
    expect(combineAnswers(answers, 'all')).toBe(all)
    expect(combineAnswers(answers, 'most')).toBe(most)
  })
})
