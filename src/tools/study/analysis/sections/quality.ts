/** Quality against compute: the loss of each arm over the FLOPs that training on a token costs. */
import type { ScatterFigure } from '../../../report/blocks.ts'
import type { Question } from '../../contract.ts'
import { estimateMean } from '../../statistics.ts'
import { armsOf, mainBaseline, type Runs } from '../runs.ts'
import { flopsPerToken, MIN_POINTS, meanOver, slug } from '../tables.ts'
import { routingOf } from './routing.ts'

/** Draws losses as differences from the main baseline by seed, which cancels the text and start of the seed. */
export function qualityAgainstFlops(runs: Runs, { id, contrasts }: Question): ScatterFigure | null {
  const baseline = mainBaseline(contrasts)
  if (baseline === null) return null
  const points = armsOf(contrasts).flatMap((arm) => {
    const x = meanOver(runs.finished(arm), flopsPerToken)
    const level = estimateMean(runs.differences({ baseline, arm }), runs.intervalsFor([baseline, arm]))
    if (x === null || x <= 0 || level === null) return []
    const ends = level.interval && arm !== baseline ? { low: level.interval[0], high: level.interval[1] } : {}
    const routing = routingOf(runs, arm)
    const group =
      routing === null
        ? 'dense'
        : routing.prototypes > 1
          ? `${routing.prototypes} top-${routing.k}`
          : `k = ${routing.k}`
    return [{ label: runs.label(arm), group, x, y: level.mean, ...ends }]
  })
  if (points.length < MIN_POINTS) return null
  return {
    kind: 'figure',
    id: slug(`${id}-flops`),
    caption: `Quality against compute: held-out loss minus that of ${baseline}, by seed, with the 95 % interval, over the FLOPs of training on a token (dropped assignments not counted).`,
    form: 'scatter',
    x: { label: 'FLOPs a token', scale: 'log' },
    y: { label: `loss minus that of ${baseline}, nats a token`, scale: 'linear' },
    points,
  }
}
