/**
 * The table and the figures of the grid of k and capacity. Losses are drawn as differences from the main
 * baseline by seed: what a seed's text and start do to the loss is in both, and would only widen bands.
 */
import type { LineFigure, ScatterFigure, Table } from '../../report/index.ts'
import type { Contrast } from '../contract.ts'
import { estimateMean } from '../statistics.ts'
import { alike, groups, varied } from './grid.ts'
import { count, dash, percent, withInterval } from './numbers.ts'
import { distinctions, type Routing } from './routing.ts'
import { mainBaseline, type Runs } from './runs.ts'
import { flopsPerToken, lossText, meanOf, slug, stepTime, table } from './tables.ts'

export const dropRate = (runs: Runs, arm: string): number | null =>
  meanOf(runs.finished(arm), (run) => run.routing.dropRate)

export function gridTable(runs: Runs, routings: readonly Routing[], contrasts: readonly Contrast[]): Table | null {
  const baseline = mainBaseline(contrasts)
  const sorted = routings.toSorted(
    (a, b) => a.activated - b.activated || a.capacity.localeCompare(b.capacity) || a.factor - b.factor,
  )
  return table(
    `k, capacity and factor: held-out loss (mean ± standard deviation over seeds) and its difference from ${baseline ?? 'the baseline'} by seed, with the 95 % interval.`,
    ['Arm', 'k', 'Capacity', 'Factor', 'Seeds', 'Held-out loss', 'Difference', 'Dropped', 'FLOPs a token', 'Step'],
    sorted.map(({ arm, k, prototypes, capacity, factor }) => {
      const finished = runs.finished(arm)
      return [
        arm,
        prototypes > 1 ? `${prototypes} × ${k}` : String(k),
        capacity,
        factor === Infinity ? dash : String(factor),
        String(finished.length),
        lossText(finished),
        baseline === null || baseline === arm ? dash : withInterval(differenceFrom(runs, baseline, arm)),
        percent(dropRate(runs, arm)),
        count(meanOf(finished, flopsPerToken)),
        stepTime(runs, arm),
      ]
    }),
  )
}

const differenceFrom = (runs: Runs, baseline: string, arm: string) =>
  estimateMean(runs.pairs({ baseline, arm }).map((pair) => pair.arm.heldOut.loss - pair.baseline.heldOut.loss))

/** An arm's loss minus the baseline's; the baseline is at nought. */
function levelOf(runs: Runs, baseline: string, arm: string) {
  if (arm !== baseline) return differenceFrom(runs, baseline, arm)
  return runs.finished(arm).length === 0 ? null : { n: 1, mean: 0, interval: null, p: null }
}

export function qualityAgainstFlops(
  runs: Runs,
  id: string,
  routings: readonly Routing[],
  contrasts: readonly Contrast[],
): ScatterFigure | null {
  const baseline = mainBaseline(contrasts)
  if (baseline === null) return null
  const points = routings.flatMap(({ arm, k, prototypes }) => {
    const x = meanOf(runs.finished(arm), flopsPerToken)
    const level = levelOf(runs, baseline, arm)
    if (x === null || level === null) return []
    const ends = level.interval ? { low: level.interval[0], high: level.interval[1] } : {}
    return [{ label: arm, group: prototypes > 1 ? `${prototypes} top-${k}` : `k = ${k}`, x, y: level.mean, ...ends }]
  })
  if (points.length < 2) return null
  return {
    kind: 'figure',
    id: slug(`${id}-flops`),
    caption: `Quality against compute: held-out loss minus that of ${baseline} by seed, with the 95 % interval, and FLOPs of training on a token (kept assignments only).`,
    form: 'scatter',
    x: { label: 'FLOPs a token', scale: 'log' },
    y: { label: `loss minus that of ${baseline}, nats a token`, scale: 'linear' },
    points,
  }
}

export function lossAgainstFactor(
  runs: Runs,
  id: string,
  routings: readonly Routing[],
  contrasts: readonly Contrast[],
): LineFigure | null {
  const baseline = mainBaseline(contrasts)
  if (baseline === null) return null
  const capped = routings.filter(({ factor }) => factor !== Infinity)
  const names = groups(capped, ({ k, prototypes, capacity, activated }) => [
    `${prototypes > 1 ? `${prototypes} top-${k}` : `k = ${k}`}${activated > 1 ? `, capacity ${capacity}` : ''}`,
  ])
  const series = names.flatMap(([name, members]) => {
    const sorted = members.toSorted((a, b) => a.factor - b.factor)
    const rows = alike(runs, sorted, varied.factor)
    const firsts = rows.flatMap(([first]) => first?.arm ?? [])
    const apart = distinctions(runs, firsts, varied.factor)
    return rows.map((row, i) => [apart[i] ? `${name}, ${apart[i]}` : name, row] as const)
  })
  const lines = series.flatMap(([name, row]) => {
    const points = row.flatMap(({ arm, factor }) => {
      const level = levelOf(runs, baseline, arm)
      return level === null ? [] : [{ x: factor, y: level.mean, ends: level.interval ?? [level.mean, level.mean] }]
    })
    if (new Set(points.map(({ x }) => x)).size < 2) return []
    return [
      {
        name,
        x: points.map(({ x }) => x),
        y: points.map(({ y }) => y),
        low: points.map(({ ends }) => ends[0] ?? 0),
        high: points.map(({ ends }) => ends[1] ?? 0),
      },
    ]
  })
  if (lines.length === 0) return null
  return {
    kind: 'figure',
    id: slug(`${id}-factor`),
    caption: `Held-out loss minus that of ${baseline} by capacity factor; the band is the 95 % interval of the difference.`,
    form: 'lines',
    x: { label: 'capacity factor', scale: 'linear' },
    y: { label: `loss minus that of ${baseline}, nats a token`, scale: 'linear' },
    series: lines,
  }
}
