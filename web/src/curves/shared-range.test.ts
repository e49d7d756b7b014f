import { expect, test } from 'vitest'
import { cover, sharedRange } from './shared-range.ts'

test('all cards of an axis have the range of all their points, while they exist', () => {
  const own = { min: 40, max: 400 }
  cover('eval', 'step', own)
  cover('train', 'step', { min: 1, max: 390 })
  cover('speed', 'time', { min: 0, max: 9000 })
  expect(sharedRange('step', own)).toEqual({ min: 1, max: 400 })
  expect(sharedRange('tokens', own)).toEqual(own)
  cover('train', 'step', null)
  expect(sharedRange('step', own)).toEqual(own)
})
