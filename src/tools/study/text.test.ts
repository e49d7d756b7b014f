/** The words of a mismatch. */
import { expect, test } from 'vitest'
import { isNotable, mismatchText } from './text.ts'

const ofArm = (percent: number) => {
  const match = { target: 1e9, reached: 1e9 * (1 + percent / 100) }
  return [mismatchText(match), isNotable(match)]
}

test('a mismatch has three digits, however small it is, and its mark agrees with them', () => {
  expect(ofArm(-13.42)).toEqual(['−13.4 %', true])
  expect(ofArm(1.04)).toEqual(['+1.04 %', true])
  expect(ofArm(1.004)).toEqual(['+1.00 %', false])
  expect(ofArm(-0.303)).toEqual(['−0.303 %', false])
  expect(ofArm(0.00061)).toEqual(['+0.000610 %', false])
})

test('a mismatch of less than 0.0005 % is equal', () => {
  expect(ofArm(0)).toEqual(['equal', false])
  expect(ofArm(-0.0004)).toEqual(['equal', false])
})
