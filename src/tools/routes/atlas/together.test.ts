import { expect, test } from 'vitest'
import { togetherByChance } from './together.ts'

/** The expected numbers above the diagonal, row by row. */
function pairs(expected: Float64Array, experts: number): number[] {
  const found: number[] = []
  for (let e = 0; e < experts; e++)
    for (let f = e + 1; f < experts; f++) found.push(expected[e * experts + f] as number)
  return found
}
const one = { prototypes: 1 }

test('even loads have even pairs: T · k(k − 1) / N(N − 1)', () => {
  const expected = togetherByChance({ experts: 4, choices: 2, ...one }, [50, 50, 50, 50], 100)
  for (const value of pairs(expected, 4)) expect(value).toBeCloseTo(100 / 6, 8)
})

test('two experts of two choices are always together', () => {
  expect(pairs(togetherByChance({ experts: 2, choices: 2, ...one }, [70, 70], 70), 2)[0]).toBeCloseTo(70, 8)
})

test('every expert has its number of partners, also for uneven loads', () => {
  const loads = [60, 50, 40, 30, 20]
  const expected = togetherByChance({ experts: 5, choices: 2, ...one }, loads, 100)
  for (const [e, load] of loads.entries()) {
    let partners = 0
    for (let f = 0; f < 5; f++) if (f !== e) partners += expected[Math.min(e, f) * 5 + Math.max(e, f)] as number
    expect(partners).toBeCloseTo(load, 6)
  }
})

test('an expert that every token chooses is a partner by chance alone', () => {
  const expected = togetherByChance({ experts: 3, choices: 2, ...one }, [100, 60, 40], 100)
  expect(pairs(expected, 3)[0]).toBeCloseTo(60, 0)
  expect(pairs(expected, 3)[1]).toBeCloseTo(40, 0)
  expect(pairs(expected, 3)[2]).toBeLessThan(1)
})

test('experts of different prototypes are independent, and those of one exclude each other if it has one choice', () => {
  const expected = togetherByChance({ experts: 4, prototypes: 2, choices: 2 }, [30, 70, 50, 50], 100)
  expect(pairs(expected, 4)).toEqual([0, 15, 15, 35, 35, 0])
})

test('where experts choose tokens they are independent', () => {
  expect(pairs(togetherByChance({ experts: 2, choices: null, ...one }, [30, 40], 100), 2)).toEqual([12])
})

test('a dead expert has no pairs', () => {
  const expected = togetherByChance({ experts: 3, choices: 2, ...one }, [100, 100, 0], 100)
  expect(pairs(expected, 3)).toEqual([expect.closeTo(100, 6), 0, 0])
})
