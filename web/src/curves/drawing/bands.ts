/**
 * Mean, minimum and maximum of several runs that differ in their seeds. Their points have different x, so each run is
 * interpolated linearly between its points. A run counts only between its own first and last point.
 */
import type { Series } from '../../../../src/faces/watch/api.ts'

export interface Band {
  readonly x: readonly number[]
  /** Mean of the runs. */
  readonly y: readonly (number | null)[]
  readonly band: {
    readonly low: readonly (number | null)[]
    readonly high: readonly (number | null)[]
    /** Number of runs at each x. */
    readonly count: readonly number[]
  }
}

/** Limit of the points of a band, more than a screen has pixels. */
const MAX_BAND_POINTS = 3000

type Points = Pick<Series, 'x' | 'y'>

export function bandOver(series: readonly Points[]): Band {
  const x = mergedX(series)
  const columns = series.map((each) => interpolated(each, x))
  const y: (number | null)[] = []
  const low: (number | null)[] = []
  const high: (number | null)[] = []
  const count: number[] = []
  for (let i = 0; i < x.length; i++) {
    const values = columns.map((each) => each[i] ?? null).filter((value) => value !== null)
    count.push(values.length)
    y.push(values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : null)
    low.push(values.length > 0 ? Math.min(...values) : null)
    high.push(values.length > 0 ? Math.max(...values) : null)
  }
  return { x, y, band: { low, high, count } }
}

/** The x of all points of all runs, thinned evenly if there are very many, with the last one kept. */
function mergedX(series: readonly Points[]): readonly number[] {
  const all = [...new Set(series.flatMap(({ x }) => x))].sort((one, other) => one - other)
  const every = Math.ceil(all.length / MAX_BAND_POINTS)
  return every <= 1 ? all : all.filter((_, index) => index % every === 0 || index === all.length - 1)
}

/** Values of a run at the places `at`; null beyond its ends and next to a null. Both `x` and `at` ascend. */
function interpolated({ x, y }: Points, at: readonly number[]): readonly (number | null)[] {
  let right = 0
  return at.map((place) => {
    while (right < x.length && (x[right] as number) < place) right++
    const after = x[right]
    if (after === undefined) return null
    const high = y[right] ?? null
    if (after === place) return high
    const before = x[right - 1]
    const low = y[right - 1] ?? null
    if (before === undefined || low === null || high === null) return null
    return low + ((place - before) / (after - before)) * (high - low)
  })
}
