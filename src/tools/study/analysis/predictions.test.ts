/** The sentences of the section of predictions, for every number of predictions and every history of theirs. */
import { describe, expect, test } from 'vitest'
import type { Prediction, Protocol } from '../contract.ts'
import { checksumOf } from '../results/checksum.ts'
import { REGISTRATION_RULES } from '../results/registrations.ts'
import { studyOf } from '../testing/results.ts'
import { analyse } from './analyse.ts'

// With five seeds a jitter of 0.001 gives an error of 0.000707. The effect of `weak` has t = 3, so p = 0.04.
const arms = {
  base: {},
  good: { effect: -0.1, jitter: 0.001 },
  bad: { effect: 0.1, jitter: 0.001 },
  open: { effect: 0, jitter: 0.001 },
  weak: { effect: -0.003 * Math.sqrt(2.5 / 5), jitter: 0.001 },
}
type Arm = Exclude<keyof typeof arms, 'base'>

/** A prediction that an arm is better than `base`. */
const better = (arm: Arm): Prediction => ({
  ...{ question: `Is ${arm} better?`, expect: 'better', of: 'all', contrasts: [['base', arm]] },
})
const protocolOf = (named: readonly Arm[]): Protocol => ({
  predictions: named.map(better),
  seeds: [0, 1, 2, 3, 4],
  capacity: 'train',
  arms: Object.fromEntries(Object.keys(arms).map((arm) => [arm, arm])),
})
type Entry = readonly [ended: number, ...named: Arm[]]
const sectionOf = (...entries: readonly Entry[]) => {
  const registrations = entries.map(([ended, ...named]) => {
    const protocol = protocolOf(named)
    return { protocol, sha256: checksumOf(protocol), at: '2026-01-01T00:00:00.000Z', ended, rules: REGISTRATION_RULES }
  })
  const [, ...now] = entries.at(-1) ?? [0]
  const report = analyse({ ...studyOf({ arms }), registered: { protocol: protocolOf(now), registrations } })
  const section = report.sections.find(({ id }) => id === 'predictions')
  const caption = section?.blocks.flatMap((block) => (block.kind === 'table' ? block.caption : []))[0] ?? ''
  return { verdicts: section?.verdicts ?? [], correction: / °: [^.]*\./.exec(caption)?.[0] ?? '' }
}

describe('the section of predictions', () => {
  test.each<[Entry, string]>([
    [[0, 'good'], 'The prediction is held.'],
    [[0, 'open'], 'The prediction is undecided.'],
    [[0, 'good', 'good'], 'Both predictions are held.'],
    [[0, 'bad', 'bad', 'bad'], 'All 3 predictions are not held.'],
    [[0, 'good', 'bad'], 'Of 2 predictions, 1 is held and 1 is not held.'],
    [[0, 'good', 'good', 'bad', 'open'], 'Of 4 predictions, 2 are held, 1 is not held and 1 is undecided.'],
    [
      [0, 'weak', 'open'],
      'Both predictions are undecided; the intervals alone decide 1 of the undecided ones (°), which the correction for all tests takes back.',
    ],
    [
      [0, 'weak', 'good', 'weak'],
      'Of 3 predictions, 1 is held and 2 are undecided; the intervals alone decide the undecided ones (°), which the correction for all tests takes back.',
    ],
  ])('counts %j', (entry, sentence) => {
    expect(sectionOf(entry).verdicts[0]).toBe(sentence)
  })

  test('counts one prediction that the correction for withdrawn ones takes back', () => {
    const { verdicts, correction } = sectionOf([0, 'weak', 'bad'], [3, 'weak'])
    expect(verdicts).toEqual([
      'The prediction is undecided; its interval alone decides it (°), which the correction for all tests takes back.',
      'It was registered before the first result, and is unchanged since then; another one was changed or withdrawn after results.',
      '1 earlier prediction was changed or withdrawn.',
    ])
    expect(correction).toBe(
      " °: does not survive Holm's correction for 2 tests: 1 of these predictions, and 1 of predictions that were changed or withdrawn after results.",
    )
  })

  test('has an edit before any result in its list, and not among the tests', () => {
    const { verdicts, correction } = sectionOf([0, 'weak', 'good'], [0, 'bad'], [0, 'weak', 'good'])
    expect(verdicts).toEqual([
      'Both predictions are held.',
      'Both were registered before the first result, and are unchanged since then.',
      '3 earlier predictions were changed or withdrawn.',
    ])
    expect(correction).toBe(" °: does not survive Holm's correction for the 2 tests of all predictions.")
    expect(sectionOf([0, 'bad'], [0, 'weak'])).toMatchObject({
      verdicts: [
        'The prediction is held.',
        'It was registered before the first result, and is unchanged since then.',
        '1 earlier prediction was changed or withdrawn.',
      ],
      correction: '',
    })
  })

  test('of a study without predictions now has those that were withdrawn', () => {
    expect(sectionOf([0, 'good', 'bad'], [5])).toEqual({
      verdicts: ['The study has no predictions now.', '2 earlier predictions were changed or withdrawn.'],
      correction: '',
    })
  })
})
