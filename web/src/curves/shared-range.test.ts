import { computed } from '@preact/signals'
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

test('what is drawn in the range is drawn again only when an end of it moves', () => {
  let drawn = 0
  const figure = computed(() => {
    drawn++
    return sharedRange('flops', { min: 10, max: 20 })
  })
  expect(figure.value).toEqual({ min: 10, max: 20 })
  cover('first', 'flops', { min: 1, max: 100 })
  expect(figure.value).toEqual({ min: 1, max: 100 })
  const before = drawn
  for (let card = 0; card < 30; card++) cover(card, 'flops', { min: 1 + card, max: 100 - card })
  expect(figure.value).toEqual({ min: 1, max: 100 })
  expect(drawn).toBe(before)
  cover('longer', 'flops', { min: 1, max: 101 })
  expect(figure.value.max).toBe(101)
})
