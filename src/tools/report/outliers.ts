/**
 * Finds rows that lie so far from zero that the others could hardly be seen on the same axis. The axis is broken before
 * such rows: a figure and the intervals of a table follow the same rule.
 */

/** The others must need less than this share of the axis, and at most this share of the rows may lie beyond a break. */
const [USED, ROWS] = [0.3, 1 / 3]

/**
 * The largest distance from zero without outliers; null if there are none, and the axis needs no break.
 * @param distances Largest distance from zero of each row
 */
export function withoutOutliers(distances: readonly number[]): number | null {
  const sorted = distances.filter(Number.isFinite).toSorted((a, b) => b - a)
  const [largest = 0, ...others] = sorted.slice(0, 1 + Math.floor(ROWS * sorted.length))
  return others.find((distance) => distance > 0 && distance <= USED * largest) ?? null
}
