import { expect, test } from 'vitest'
import { clearFrom, type MapLine, measuredBreakEven } from './measured.ts'

const lineOf = (...points: readonly [difference: number, half: number | null][]): MapLine => ({
  active: 1,
  experts: 2,
  parameters: 2,
  points: points.map(([difference, half], i) => {
    const interval = half === null ? null : ([difference - half, difference + half] as const)
    return { tokens: 10 * 4 ** i, estimate: { n: 4, mean: difference, interval, p: null } }
  }),
})

test('break-even is where experts begin to pay for good, not where they once did by chance', () => {
  const line = lineOf([-0.01, 0.03], [0.1, 0.03], [-0.1, 0.11], [-0.2, 0.1], [-0.3, 0.1])
  // Break-even is between 40 and 160 tokens, half way over ln tokens.
  expect(measuredBreakEven(line)).toBeCloseTo(80, 9)
  expect(clearFrom(line)).toBe(640)
})

test('a line without intervals is never clear; a line whose longest training does not pay has no break-even', () => {
  expect(clearFrom(lineOf([-0.1, null], [-0.2, null]))).toBeNull()
  expect(clearFrom(lineOf([-0.1, 0.01], [-0.2, 0.3]))).toBeNull()
  expect(measuredBreakEven(lineOf([-0.1, 0.01], [0, 0.3]))).toBeNull()
  const all = lineOf([-0.1, 0.01], [-0.2, 0.01])
  expect([measuredBreakEven(all), clearFrom(all)]).toEqual([0, 10])
})
