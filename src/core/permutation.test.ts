import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hashNumbers, hashText, permute } from './permutation.ts'

test('permute is a permutation of 0..count-1 for any count and keys', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 600 }), fc.maxSafeNat(), fc.nat(), (count, seed, epoch) => {
      const image = Array.from({ length: count }, (_, i) => permute(i, count, seed, epoch))
      expect([...image].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i))
    }),
    { numRuns: 60 },
  )
})

test('permute stays below a count larger than 32 bits', () => {
  const count = 2 ** 40 + 3
  const image = new Set(Array.from({ length: 500 }, (_, i) => permute(count - 1 - i, count, 7)))
  expect(image.size).toBe(500)
  for (const value of image) expect(value).toBeLessThan(count)
})

test('another seed or epoch gives another order', () => {
  const order = (...keys: number[]) => Array.from({ length: 100 }, (_, i) => permute(i, 100, ...keys)).join()
  expect(new Set([order(0, 0), order(0, 1), order(1, 0), order(2 ** 40, 0), order(2 ** 41, 0)]).size).toBe(5)
})

test('an order has no more fixed points and ascending neighbours than expected by chance', () => {
  const image = Array.from({ length: 4000 }, (_, i) => permute(i, 4000, 11))
  expect(image.filter((value, i) => value === i).length).toBeLessThan(8)
  const rising = image.filter((value, i) => i > 0 && value > (image[i - 1] ?? 0)).length
  expect(Math.abs(rising - 2000)).toBeLessThan(150)
})

test('hashes of similar texts spread evenly over [0, 2^53) and depend on the seed', () => {
  const hashes = Array.from({ length: 20_000 }, (_, i) => hashText(`document ${i}`, 3))
  expect(new Set(hashes).size).toBe(20_000)
  for (const share of [0.01, 0.1, 0.5]) {
    const below = hashes.filter((hash) => hash < share * 2 ** 53).length / 20_000
    expect(Math.abs(below - share)).toBeLessThan(4 * Math.sqrt((share * (1 - share)) / 20_000))
  }
  expect(Math.max(...hashes)).toBeLessThan(2 ** 53)
  expect(hashText('a', 1)).not.toBe(hashText('a', 2))
})

test('hashNumbers distinguishes order, length and integers above 32 bits', () => {
  const hashes = [hashNumbers(1, 2), hashNumbers(2, 1), hashNumbers(1), hashNumbers(1, 0), hashNumbers(2 ** 40 + 1, 2)]
  expect(new Set(hashes).size).toBe(5)
})
