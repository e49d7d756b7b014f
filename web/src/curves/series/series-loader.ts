/** Loads the points of one metric for all shown runs. */
import type { SeriesAnswer } from '../../../../src/faces/watch/api.ts'
import { shownRuns } from '../../store.ts'
import { from, smoothing, to, xAxis } from '../settings.ts'
import { isEvaluation, PointsLoader } from './points-loader.ts'

/** Fewest points per run, and limit of the points of all runs, which a card can draw many times a second. */
const MIN_POINTS = 60
const MAX_TOTAL_POINTS = 40_000

export class SeriesLoader extends PointsLoader<SeriesAnswer> {
  /** @param maxPoints Points per run, unless there are very many runs. */
  constructor(metric: string, maxPoints: number) {
    super('/api/series', () => {
      const runs = shownRuns.value.filter(({ metrics }) => metrics.includes(metric)).map(({ id }) => id)
      const query = {
        runs: runs.join(','),
        metric,
        x: xAxis.value,
        smoothing: isEvaluation(metric) ? 0 : smoothing.value,
        points: Math.min(maxPoints, Math.max(MIN_POINTS, Math.floor(MAX_TOTAL_POINTS / Math.max(1, runs.length)))),
        from: from.value ?? undefined,
        to: to.value ?? undefined,
      }
      return { query, runs }
    })
  }
}
