/**
 * Mean, least and greatest of several runs that differ in their seeds. Their points lie at different places, so each
 * run is read between its points by a straight line. At a place, those runs count that have come as far: never
 * beyond a run's own first and last point.
 */
import type { Series } from '../../../../src/watch/api.ts'

export interface Band {
  readonly x: readonly number[]
  /** Mean. */
  readonly y: readonly (number | null)[]
  readonly band: {
    readonly low: readonly (number | null)[]
    readonly high: readonly (number | null)[]
    /** Runs at each place. */
    readonly count: readonly number[]
  }
}

/** More than a screen has pixels. */
const MAX_PLACES = 3000

type Points = Pick<Series, 'x' | 'y'>

export function bandOver(series: readonly Points[]): Band {
  const x = places(series)
  const read = series.map((each) => interpolated(each, x))
  const y: (number | null)[] = []
  const low: (number | null)[] = []
  const high: (number | null)[] = []
  const count: number[] = []
  for (let i = 0; i < x.length; i++) {
    const values = read.map((each) => each[i] ?? null).filter((value) => value !== null)
    count.push(values.length)
    y.push(values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : null)
    low.push(values.length > 0 ? Math.min(...values) : null)
    high.push(values.length > 0 ? Math.max(...values) : null)
  }
  return { x, y, band: { low, high, count } }
}

/** All places of all runs, evenly thinned out when there are very many; the last one stays. */
function places(series: readonly Points[]): readonly number[] {
  const all = [...new Set(series.flatMap(({ x }) => x))].sort((one, other) => one - other)
  const every = Math.ceil(all.length / MAX_PLACES)
  return every <= 1 ? all : all.filter((_, index) => index % every === 0 || index === all.length - 1)
}

/** Null beyond the ends, and beside a value that is null. Both x ascend. */
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
