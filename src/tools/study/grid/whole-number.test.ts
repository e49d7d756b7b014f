/** The search of a whole number, against a search of all numbers. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hasTwin, neighbours } from './matches.ts'

const value = fc.integer({ min: 1, max: 400 })

test('the nearest accepted number is found, whether the quantity rises or falls and however numbers are spread', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(value, { minLength: 1, maxLength: 60 }),
      fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 400, maxLength: 400 }),
      fc.boolean(),
      fc.integer({ min: -2000, max: 2000 }),
      (accepted, rises, falling, target) => {
        const set = new Set(accepted)
        const sums = rises.map((_, i) => rises.slice(0, i + 1).reduce((sum, rise) => sum + rise, 0))
        const quantity = (one: number) => (falling ? -1 : 1) * (sums[one - 1] as number)
        const found = neighbours({ min: 1, max: 400 }, (one) => (set.has(one) ? quantity(one) : null), target)
        const distance = (one: number) => Math.abs(quantity(one) - target)
        expect(Math.min(...found.map((point) => distance(point.value)))).toBe(Math.min(...accepted.map(distance)))
        for (const point of found) expect(point.reached).toBe(quantity(point.value))
      },
    ),
  )
})

test('a number has a twin if another accepted number has its quantity, before or after it', () => {
  const quantities = [1, null, 2, null, 2, 3]
  const twins = quantities.map(
    (reached, value) =>
      reached !== null && hasTwin({ min: 0, max: 5 }, (one) => quantities[one] as number | null, { value, reached }),
  )
  expect(twins).toEqual([false, false, true, false, true, false])
})

test('no number is found if none is accepted', () => {
  expect(neighbours({ min: 1, max: 100 }, () => null, 5)).toEqual([])
})

test('a range of a million numbers takes a few quantities', () => {
  let count = 0
  const triple = (one: number) => {
    count++
    return 3 * one
  }
  const found = neighbours({ min: 1, max: 2 ** 20 }, triple, 1_000_000)
  expect(found.map((point) => point.value)).toEqual([333_333, 333_334])
  expect(count).toBeLessThan(60)
})
