import { expect, test } from 'vitest'
import { withoutOutliers } from './outliers.ts'

test('a few rows are outliers if the others need less than 0.3 of the axis', () => {
  expect(withoutOutliers([0.47, 0.13, 0.09, 0.07])).toBe(0.13)
  expect(withoutOutliers([0.47, 0.15, 0.09, 0.07])).toBeNull()
  // Two of six may be outliers, two of five may not.
  expect(withoutOutliers([9, 8, 1, 1, 1, 1])).toBe(1)
  expect(withoutOutliers([9, 8, 1, 1, 1])).toBeNull()
})

test('there are no outliers without another row to compare with', () => {
  for (const distances of [[], [5], [5, 1], [5, 0, 0], [Number.POSITIVE_INFINITY, 1, 1]])
    expect(withoutOutliers(distances)).toBeNull()
})
