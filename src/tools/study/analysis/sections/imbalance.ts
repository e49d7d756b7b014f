/**
 * Load imbalance against loss, one point per arm (its seeds averaged), so the correlation of few arms has a wide
 * interval. A correlation does not show a cause.
 *
 * Expert choice is no evidence: its loads are even by construction, and its experts see later tokens, which
 * lowers the loss. Such arms are drawn as a separate group and excluded from the fit.
 */
import type { ScatterFigure } from '../../../report/blocks.ts'
import type { Contrast, Question } from '../../contract.ts'
import { estimateMean, type Interval, regression } from '../../statistics.ts'
import { mainBaseline, type Runs } from '../runs.ts'
import { MIN_POINTS, meanOver, routed, slug } from '../tables.ts'
import { routingOf } from './routing.ts'

export interface ImbalancePoint {
  readonly arm: string
  /** c_v of the load before drops, mean over the last quarter of training and over runs. */
  readonly x: number
  /** Mean over seeds of the loss minus the loss of the main baseline, which is itself at zero. */
  readonly y: number
  readonly interval: Interval | null
  readonly evidence: boolean
}

/** The main baseline of the contrasts, and all arms with a c_v and a difference from it. */
export function imbalancePoints(runs: Runs, contrasts: readonly Contrast[]): ImbalancePoint[] {
  const baseline = mainBaseline(contrasts)
  if (baseline === null) return []
  const own = contrasts.filter((contrast) => contrast.baseline === baseline)
  const points = own.flatMap(({ arm }): ImbalancePoint[] => {
    const x = imbalanceOf(runs, arm)
    const estimate = estimateMean(runs.differences({ baseline, arm }), runs.intervalsFor([baseline, arm]))
    const evidence = !expertsChoose(runs, arm)
    return x === null || estimate === null ? [] : [{ arm, x, y: estimate.mean, interval: estimate.interval, evidence }]
  })
  const origin = points.length === 0 ? null : imbalanceOf(runs, baseline)
  if (origin === null) return points
  return [{ arm: baseline, x: origin, y: 0, interval: null, evidence: !expertsChoose(runs, baseline) }, ...points]
}

const expertsChoose = (runs: Runs, arm: string): boolean => routingOf(runs, arm)?.router === 'expert-choice'

const imbalanceOf = (runs: Runs, arm: string): number | null =>
  meanOver(routed(runs.finished(arm)), (run) => run.routing.loadCv)

export function imbalanceFigure(runs: Runs, { id, contrasts }: Question): ScatterFigure | null {
  const points = imbalancePoints(runs, contrasts)
  if (points.length < MIN_POINTS) return null
  const baseline = mainBaseline(contrasts)
  const fitted = points.filter(({ evidence }) => evidence)
  const xs = fitted.map(({ x }) => x)
  const ys = fitted.map(({ y }) => y)
  const line = fitted.length < 3 ? null : regression(xs, ys)
  const ends = [Math.min(...xs), Math.max(...xs)] as const
  const leftOut = fitted.length < points.length ? ', without those in which experts choose their tokens' : ''
  return {
    kind: 'figure',
    id: slug(`${id}-imbalance-loss`),
    caption: `Load imbalance and held-out loss: one point per arm, with the 95 % interval over seeds. c_v is the standard deviation of the experts' loads over their mean (0: all loads are equal). The line is a least-squares fit over the arms${leftOut}.`,
    form: 'scatter',
    x: { label: 'c_v before drops', scale: 'linear' },
    y: { label: `loss minus that of ${baseline ?? 'the baseline'}, nats a token`, scale: 'linear' },
    points: points.map(({ arm, x, y, interval, evidence }) => ({
      label: runs.label(arm),
      group: evidence ? (arm === baseline ? 'baseline' : 'arms') : 'expert choice',
      x,
      y,
      ...(interval ? { low: interval[0], high: interval[1] } : {}),
    })),
    ...(line ? { trend: ends.map((x) => [x, line.intercept + line.slope * x] as const) } : {}),
  }
}
