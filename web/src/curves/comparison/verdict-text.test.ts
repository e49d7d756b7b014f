import { describe, expect, it } from 'vitest'
import type { DifferenceVerdict } from '../../../../src/faces/watch/api.ts'
import { verdictText } from './verdict-text.ts'

const names = { arm: 'top-2', baseline: 'top-1', of: 3, fewest: 3, steps: 400 }
const text = (verdict: Partial<DifferenceVerdict>) =>
  verdictText(
    { step: 400, pairs: 4, mean: -0.021, interval: [-0.034, -0.008], digits: 3, outcome: 'lower', ...verdict },
    names,
  )

describe('a verdict', () => {
  it('states a difference that the interval and the correction leave no doubt about', () => {
    expect(text({})).toBe('top-2 is lower than top-1 by 0.021 (0.008 to 0.034), 4 pairs at the last step, 400')
    expect(text({ mean: 0.021, interval: [0.008, 0.034], outcome: 'higher' })).toBe(
      'top-2 is higher than top-1 by 0.021 (0.008 to 0.034), 4 pairs at the last step, 400',
    )
  })

  it('calls a difference possible if several arms could show it by chance', () => {
    expect(text({ outcome: 'maybe-lower' })).toBe(
      'top-2 may be lower than top-1 by 0.021 (0.008 to 0.034), 4 pairs at the last step, 400; of 3 arms, one may differ so much by chance',
    )
  })

  it('says that arms cannot be distinguished yet, with the sign of both ends', () => {
    expect(text({ mean: 0.004, interval: [-0.02, 0.028], outcome: 'open' })).toBe(
      'top-2 and top-1 cannot be distinguished yet: +0.004 (−0.020 to +0.028), 4 pairs at the last step, 400',
    )
  })

  it('is none without an interval', () => {
    expect(text({ pairs: 1, interval: null, outcome: 'open' })).toBe(
      'top-2 minus top-1 is −0.021 so far, with 1 pair at the last step, 400: one pair has no interval',
    )
    expect(text({ pairs: 2, interval: null, outcome: 'open' })).toBe(
      'top-2 minus top-1 is −0.021 so far, with 2 pairs at the last step, 400: an interval needs 3',
    )
  })
})

it('the step of a verdict shows how far the training is', () => {
  const at = (step: number, steps: number | null) =>
    verdictText({ step, pairs: 1, mean: 1, interval: null, digits: 3, outcome: 'open' }, { ...names, steps })
  expect(at(120, 4000)).toContain('with 1 pair at step 120 of 4,000:')
  expect(at(120, null)).toContain('with 1 pair at step 120:')
})
