import { describe, expect, test } from 'vitest'
import { descend, logError } from './fit.ts'

describe('coordinate descent', () => {
  test('finds the constants that made the measurements', () => {
    // The measurements are seconds = a · x + b with a = 3 and b = 0.02.
    const measured = [0.001, 0.01, 0.1, 1, 10].map((x) => [x, 3 * x + 0.02] as const)
    const loss = ([a = 0, b = 0]: readonly number[]) => logError(measured.map(([x, seconds]) => [a * x + b, seconds]))
    const [a = 0, b = 0] = descend([1, 1], [100, 100], loss)
    expect(a).toBeCloseTo(3, 1)
    expect(b).toBeCloseTo(0.02, 3)
  })

  test('never exceeds a limit, and never gets worse', () => {
    const loss = ([a = 0]: readonly number[]) => logError([[a, 1000]])
    const [a = 0] = descend([1], [7], loss)
    expect(a).toBe(7)
    expect(loss([a])).toBeLessThan(loss([1]))
  })
})

test('predictions that are twice as much and half as much have equal errors', () => {
  expect(logError([[2, 1]])).toBeCloseTo(logError([[1, 2]]), 12)
  expect(logError([[5, 5]])).toBe(0)
})
