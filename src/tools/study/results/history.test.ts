/** The history of predictions: since when they count, which were withdrawn, and how many tests these are. */
import { describe, expect, test } from 'vitest'
import type { Prediction, Protocol, Registration } from '../contract.ts'
import { checksumOf } from './checksum.ts'
import { isOf, REGISTRATION_RULES, registeredSince, withdrawnFrom, withdrawnTests } from './registrations.ts'

const better: Prediction = { question: 'Two?', expect: 'better', of: 'all', contrasts: [['one', 'two']] }
const worse: Prediction = { ...better, expect: 'worse' }
const both: Prediction = {
  ...better,
  question: 'All?',
  contrasts: [
    ['one', 'two'],
    ['one', 'three'],
  ],
}
const protocolOf = (predictions: readonly Prediction[], more: Partial<Protocol> = {}): Protocol => ({
  predictions,
  seeds: [1, 2],
  capacity: 'train',
  arms: { one: 'hash of one', two: 'hash of two', three: 'hash of three' },
  ...more,
})
const registered = (ended: number, protocol: Protocol, rules: number | null = REGISTRATION_RULES): Registration => ({
  ...{ protocol, sha256: checksumOf(protocol), at: '2026-01-01T00:00:00.000Z', ended },
  ...(rules !== null && { rules }),
})
const historyOf = (registrations: readonly Registration[], now: Protocol) => ({ registrations, protocol: now })

describe('tests of withdrawn predictions', () => {
  const testsOf = (entries: readonly (readonly [ended: number, predictions: readonly Prediction[]])[]) => {
    const registrations = entries.map(([ended, predictions]) => registered(ended, protocolOf(predictions)))
    return withdrawnTests(historyOf(registrations, protocolOf(entries.at(-1)?.[1] ?? [])))
  }

  test('do not count if the predictions were edited before any result, and edited back or not', () => {
    expect(
      testsOf([
        [0, [better]],
        [0, [worse]],
        [0, [better]],
      ]),
    ).toBe(0)
    expect(
      testsOf([
        [0, [better, both]],
        [0, [worse]],
      ]),
    ).toBe(0)
  })

  test('count for each contrast if the predictions were changed or withdrawn after a result', () => {
    expect(
      testsOf([
        [0, [better, both]],
        [1, [worse]],
      ]),
    ).toBe(3)
    expect(
      testsOf([
        [0, [better]],
        [0, [both]],
        [4, []],
      ]),
    ).toBe(2)
  })

  test('count once for one test: if it came back, was withdrawn twice, or had another reason', () => {
    expect(
      testsOf([
        [0, [better]],
        [3, []],
        [5, [better]],
      ]),
    ).toBe(0)
    expect(
      testsOf([
        [0, [better]],
        [3, []],
        [5, [better]],
        [7, []],
      ]),
    ).toBe(1)
    expect(
      testsOf([
        [0, [better]],
        [3, [{ ...better, because: 'more is better' }]],
      ]),
    ).toBe(0)
  })

  test('count also if the study was not started since', () => {
    const history = historyOf([registered(0, protocolOf([better, both]))], protocolOf([better]))
    expect(withdrawnTests(history)).toBe(2)
    expect(withdrawnFrom(history)).toMatchObject([{ prediction: both, until: null }])
  })
})

describe('a registration of the first rules, which recorded neither intervals nor the sweep', () => {
  const first = registered(0, protocolOf([better]), null)
  const tune = { rates: [0.5, 1, 2] }

  test('is the registration of a prediction of a study with a sweep or intervals, also after a later start', () => {
    for (const more of [{ tune }, { intervals: 'anytime' as const }]) {
      const now = protocolOf([better], more)
      expect(registeredSince(better, historyOf([first], now))).toBe(first)
      const later = historyOf([first, registered(9, now)], now)
      expect(registeredSince(better, later)).toBe(first)
      expect(withdrawnFrom(later)).toEqual([])
      expect(withdrawnTests(later)).toBe(0)
      expect(isOf(first, now)).toBe(true)
    }
  })

  test('matches nothing else that was changed', () => {
    const other = protocolOf([better], { tune, arms: { one: 'other', two: 'hash of two' } })
    expect(registeredSince(better, historyOf([first], other))).toBeNull()
    expect(registeredSince(worse, historyOf([first], protocolOf([worse], { tune })))).toBeNull()
    expect(isOf(first, protocolOf([better], { tune, seeds: [1] }))).toBe(false)
  })
})

test('with the rules of now, a prediction counts anew if the sweep or the intervals are changed', () => {
  const first = registered(0, protocolOf([better]))
  for (const more of [{ tune: { rates: [1, 2] } }, { intervals: 'anytime' as const }]) {
    const now = protocolOf([better], more)
    expect(registeredSince(better, historyOf([first], now))).toBeNull()
    expect(isOf(first, now)).toBe(false)
    const next = registered(9, now)
    expect(registeredSince(better, historyOf([first, next], now))).toBe(next)
  }
  const student = protocolOf([better], { intervals: 'student' })
  expect(registeredSince(better, historyOf([first], student))).toBe(first)
})
