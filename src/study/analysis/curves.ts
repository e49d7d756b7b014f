/**
 * Lines over training. Runs are brought onto the steps that all of them have, averaged over seeds, and
 * drawn with a band; a band is the smallest and largest seed, except that of a paired difference, which
 * is its 95 % interval.
 */
import type { FinishedRun } from '../contract.ts'
import type { LineFigure } from '../report/blocks.ts'
import { estimateMean } from '../statistics.ts'
import type { Comparison } from './comparison.ts'
import { armsOf, type Runs } from './runs.ts'
import { slug } from './tables.ts'

type Series = LineFigure['series'][number]

/** A value by step. */
export interface Track {
  readonly step: readonly number[]
  readonly value: readonly number[]
}

/** Steps that all tracks have with finite values, and a row of those values a step. */
export function aligned(tracks: readonly Track[]): { readonly step: number; readonly values: readonly number[] }[] {
  const maps = tracks.map(
    ({ step, value }) =>
      new Map(step.flatMap((at, i) => (Number.isFinite(value[i]) ? [[at, value[i] as number] as const] : []))),
  )
  const [first, ...others] = maps
  if (first === undefined) return []
  return [...first.keys()]
    .filter((step) => others.every((map) => map.has(step)))
    .sort((a, b) => a - b)
    .map((step) => ({ step, values: maps.map((map) => map.get(step) ?? 0) }))
}

/** Mean over tracks, with the smallest and the largest as a band. */
function banded(name: string, tracks: readonly Track[]): Series | null {
  const rows = aligned(tracks)
  if (rows.length === 0) return null
  const x = rows.map(({ step }) => step)
  const y = rows.map(({ values }) => values.reduce((sum, value) => sum + value, 0) / values.length)
  if (tracks.length < 2) return { name, x, y }
  return {
    name,
    x,
    y,
    low: rows.map(({ values }) => Math.min(...values)),
    high: rows.map(({ values }) => Math.max(...values)),
  }
}

const lossTrack = (run: FinishedRun): Track => ({ step: run.train.step, value: run.train.loss })

export const evaluationTrack = (run: FinishedRun): Track => ({
  step: run.evaluations.map(({ step }) => step),
  value: run.evaluations.map(({ loss }) => loss),
})

/** A line an arm. */
export function armLines(
  runs: Runs,
  arms: readonly string[],
  figure: { readonly id: string; readonly caption: string; readonly y: string },
  trackOf: (run: FinishedRun) => Track | null,
): LineFigure | null {
  const series = arms.flatMap(
    (arm) =>
      banded(
        arm,
        runs.finished(arm).flatMap((run) => trackOf(run) ?? []),
      ) ?? [],
  )
  if (series.length === 0) return null
  return {
    kind: 'figure',
    id: slug(figure.id),
    caption: `${figure.caption} Mean over seeds; the band goes from the lowest to the highest seed.`,
    form: 'lines',
    x: { label: 'step', scale: 'linear' },
    y: { label: figure.y, scale: 'linear' },
    series,
  }
}

export function lossCurves(runs: Runs, id: string, comparisons: readonly Comparison[]): LineFigure | null {
  return armLines(
    runs,
    armsOf(comparisons),
    { id: `${id}-loss`, caption: 'Training loss.', y: 'training loss, nats a token' },
    lossTrack,
  )
}

/** Share of training left out at the start, where differences are large and say nothing of the end. */
const WARMING_UP = 0.1

/**
 * Arm minus baseline on the same batches: what is hard or easy in a batch is in both and goes away, so
 * this shows differences that the curves themselves hide.
 */
export function differenceCurves(id: string, comparisons: readonly Comparison[]): LineFigure | null {
  const series = comparisons.flatMap(({ arm, baseline, pairs }): Series[] => {
    const tracks = pairs.map((pair) => differenceTrack(lossTrack(pair.arm), lossTrack(pair.baseline)))
    const all = aligned(tracks)
    const last = all.at(-1)?.step ?? 0
    const rows = all.flatMap(({ step, values }) => {
      const estimate = step < WARMING_UP * last ? null : estimateMean(values)
      return estimate === null ? [] : [{ step, estimate }]
    })
    if (rows.length === 0) return []
    const end = (index: 0 | 1) => rows.map(({ estimate }) => estimate.interval?.[index] ?? estimate.mean)
    const several = comparisons.some((other) => other.baseline !== baseline)
    return [
      {
        name: several ? `${arm} against ${baseline}` : arm,
        x: rows.map(({ step }) => step),
        y: rows.map(({ estimate }) => estimate.mean),
        ...(pairs.length < 2 ? {} : { low: end(0), high: end(1) }),
      },
    ]
  })
  if (series.length === 0) return null
  return {
    kind: 'figure',
    id: slug(`${id}-difference`),
    caption:
      'Training loss of each arm minus its baseline on the same batches, the first tenth of training left out. Mean over seeds; the band is the 95 % interval at each point.',
    form: 'lines',
    x: { label: 'step', scale: 'linear' },
    y: { label: 'loss minus the baseline, nats a token', scale: 'linear' },
    series,
  }
}

function differenceTrack(a: Track, b: Track): Track {
  const rows = aligned([a, b])
  return {
    step: rows.map(({ step }) => step),
    value: rows.map(({ values }) => (values[0] ?? 0) - (values[1] ?? 0)),
  }
}
