/** The rule that decides every claim, as properties over random effects and margins. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { estimateMean } from '../../statistics.ts'
import { effectOf } from '../ratios.ts'
import {
  type Answer,
  combineAnswers,
  decide,
  decidingOf,
  intervalOf,
  type Judged,
  pValueOf,
  type Region,
  regionOf,
} from './decision.ts'

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

describe('the contrast that decides', () => {
  type Named = Judged & { readonly name: string }

  /** A contrast with the interval mean ± half, at four degrees of freedom. Its answer survives unless `lost`. */
  const contrast = (region: Region, name: string, mean: number, half: number, lost = false): Named => {
    const effect = { n: 5, mean, error: half / 2.7764451, freedom: 4 }
    const uncorrected = decide(intervalOf(effect), region)
    return { name, effect, uncorrected, answer: lost ? 'undecided' : uncorrected }
  }
  type Sketch = readonly [name: string, mean: number, half: number, lost?: boolean]
  const deciding = (of: 'all' | 'most', side: -1 | 0 | 1, margin: number, ...all: readonly Sketch[]) => {
    const region = regionOf(side, margin)
    return decidingOf(
      all.map((one) => contrast(region, ...one)),
      region,
      of,
    )?.name
  }

  test('among contrasts that all hold is the one whose interval comes nearest to an edge', () => {
    // Upper ends for a claim of a lower loss: −0.014, −0.1 and −0.002. The last has the largest effect.
    expect(deciding('all', -1, 0, ['small', -0.02, 0.006], ['sure', -0.2, 0.1], ['wide', -0.3, 0.298])).toBe('wide')
    expect(deciding('all', -1, 0, ['small', -0.02, 0.006], ['sure', -0.2, 0.1])).toBe('small')
    // Distances from a margin of 0.01: 0.0058 for an interval that contains zero, 0.0023 for one that does not.
    expect(deciding('all', 0, 0.01, ['none', -0.0022, 0.002], ['there', 0.0059, 0.0018])).toBe('there')
    expect(deciding('all', 0, 0.01, ['there', 0.0059, 0.0018], ['noisy', 0, 0.009])).toBe('noisy')
  })

  test('is the clearest refutation if one refutes, however many hold', () => {
    const better = ['better', -0.2, 0.01] as const
    // Intervals above zero by 0.02 and by 0.001.
    expect(deciding('all', -1, 0, better, ['worse', 0.03, 0.01], ['noisy', 0.5, 0.499])).toBe('worse')
    expect(deciding('all', 0, 0.02, ['none', 0, 0.01], ['down', -0.05, 0.01], ['up', 0.04, 0.01])).toBe('down')
  })

  test('if none refutes and some are undecided is the one whose estimate speaks most against the claim', () => {
    const better = ['better', -0.2, 0.01] as const
    expect(deciding('all', -1, 0, better, ['a', -0.01, 0.02], ['b', 0.01, 0.02], ['c', 0.005, 0.3])).toBe('b')
    expect(deciding('all', 0, 0.02, ['none', 0, 0.01], ['in', 0.015, 0.01], ['out', 0.025, 0.01])).toBe('out')
  })

  test('of most contrasts is the one on which the majority turns', () => {
    const hold = [
      ['first', -0.2, 0.01],
      ['second', -0.1, 0.01],
    ] as const
    expect(deciding('most', -1, 0, ['third', 0.1, 0.01], ...hold)).toBe('second')
    // Of four three must hold.
    expect(deciding('most', -1, 0, ...hold, ['third', -0.05, 0.01], ['fourth', 0.1, 0.01])).toBe('third')
    expect(deciding('most', -1, 0, ...hold, ['open', -0.01, 0.02], ['fourth', 0.1, 0.01])).toBe('open')
    // Two of four refute it: the weaker refutation is the one without which it would be open.
    expect(deciding('most', -1, 0, ...hold, ['weak', 0.02, 0.01], ['strong', 0.1, 0.01])).toBe('weak')
  })

  test('is the one that loses its answer to the correction, if that takes the answer from the claim', () => {
    expect(deciding('all', -1, 0, ['near', -0.02, 0.015], ['far', -0.3, 0.2, true])).toBe('far')
    expect(deciding('all', -1, 0, ['worse', 0.02, 0.015], ['lost', 0.3, 0.2, true])).toBe('worse')
  })

  test('without runs decides only if no measured contrast is undecided', () => {
    const region = regionOf(-1, 0)
    const missing: Named = { name: 'missing', effect: null, answer: 'undecided', uncorrected: 'undecided' }
    const seed: Named = { ...missing, name: 'one seed', effect: { n: 1, mean: -1, error: null, freedom: 0 } }
    const holds = contrast(region, 'holds', -0.1, 0.01)
    const open = contrast(region, 'open', -0.1, 0.2)
    const names = (...all: Named[]) => decidingOf(all, region, 'all')?.name
    expect([names(holds, missing), names(missing, seed, holds), names(missing, seed, open)]).toEqual([
      'missing',
      'one seed',
      'open',
    ])
    expect(decidingOf([], region, 'all')).toBeNull()
  })

  test('has the answer of the claim, after the correction and before it', () => {
    const sketches = fc.array(fc.tuple(small, fc.double({ min: 0.01, max: 1.5, noNaN: true })), {
      minLength: 1,
      maxLength: 7,
    })
    const threshold = fc.double({ min: 0, max: 0.05, noNaN: true })
    fc.assert(
      fc.property(
        sketches,
        side,
        margins,
        threshold,
        fc.constantFrom('all', 'most'),
        (all, of, margin, level, rule) => {
          const region = regionOf(of, margin)
          const judged = all.map(([mean, half], i) => {
            const one = contrast(region, `${i}`, mean, half)
            // As Holm's correction does, a lower level takes the answers with the largest p-values.
            const p = one.effect && pValueOf(one.effect, region)
            return { ...one, answer: p !== null && p < level ? one.uncorrected : ('undecided' as const) }
          })
          const found = decidingOf(judged, region, rule)
          for (const kind of ['answer', 'uncorrected'] as const)
            expect(found?.[kind]).toBe(
              combineAnswers(
                judged.map((one) => one[kind]),
                rule,
              ),
            )
        },
      ),
      fresh,
    )
  })
})
