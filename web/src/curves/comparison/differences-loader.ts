/** Loads the differences of one metric between the arms and their baseline. */
import type { DifferencesAnswer, PairedAxis } from '../../../../src/faces/watch/api.ts'
import { isEvaluation, PointsLoader } from '../series/points-loader.ts'
import { from, smoothing, to, xAxis } from '../settings.ts'
import { pairsText } from './arms.ts'
import { comparison } from './comparison.ts'

const pairedAxis = (): PairedAxis => (xAxis.value === 'tokens' ? 'tokens' : 'step')

export class DifferencesLoader extends PointsLoader<DifferencesAnswer> {
  /** @param points Points per arm. @param range Whether only the visible range is loaded. */
  constructor(metric: string, points: number, range = true) {
    super('/api/differences', () => {
      const contrasts = comparison.value?.contrasts ?? []
      const query = {
        metric,
        pairs: pairsText(contrasts),
        x: pairedAxis(),
        smoothing: isEvaluation(metric) ? 0 : smoothing.value,
        points,
        from: range ? (from.value ?? undefined) : undefined,
        to: range ? (to.value ?? undefined) : undefined,
      }
      return contrasts.length === 0 ? null : { query, runs: contrasts.flatMap(({ pairs }) => pairs.flat()) }
    })
  }
}
