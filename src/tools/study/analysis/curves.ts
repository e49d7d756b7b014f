/**
 * Curves over training. Runs are restricted to the steps that all of them have, averaged over seeds, and
 * drawn with a band: from the lowest to the highest seed, or the 95 % interval of a paired difference. Where
 * a seed has no value (every step of a bin was skipped), the line has a gap, because a mean over the other
 * seeds would jump.
 */
import type { LineFigure } from '../../report/blocks.ts'
import type { FinishedRun } from '../contract.ts'
import { estimateMean, mean } from '../statistics.ts'
import { contrastMarks, marksOf } from './arm-marks.ts'
import type { Comparison } from './comparison.ts'
import type { Runs } from './runs.ts'
import { slug } from './tables.ts'

type Series = LineFigure['series'][number]

/** A curve with one value per step. */
export interface Track {
  readonly step: readonly number[]
  readonly value: readonly (number | null)[]
}

interface Row {
  readonly step: number
  /** One value per track; null if a track has no finite value at this step. */
  readonly values: readonly number[] | null
}

/** One row for each step that all tracks have; empty if no row has all values. */
function aligned(tracks: readonly Track[]): Row[] {
  const maps = tracks.map(({ step, value }) => new Map(step.map((at, i) => [at, value[i]])))
  const [first, ...others] = maps
  if (first === undefined) return []
  const rows = [...first.keys()]
    .filter((step) => others.every((map) => map.has(step)))
    .sort((a, b) => a - b)
    .map((step): Row => {
      const values = maps.flatMap((map) => map.get(step) ?? []).filter(Number.isFinite)
      return { step, values: values.length === maps.length ? values : null }
    })
  return rows.some(({ values }) => values) ? rows : []
}

/** Mean over tracks, with the smallest and the largest as a band. */
function banded(name: string, tracks: readonly Track[]): Series | null {
  const rows = aligned(tracks)
  if (rows.length === 0) return null
  const each = (of: (values: readonly number[]) => number | null) => rows.map(({ values }) => values && of(values))
  const line = { name, x: rows.map(({ step }) => step), y: each(mean) }
  if (tracks.length < 2) return line
  return { ...line, low: each((values) => Math.min(...values)), high: each((values) => Math.max(...values)) }
}

const lossTrack = (run: FinishedRun): Track => ({ step: run.train.step, value: run.train.loss })

export const evaluationTrack = (run: FinishedRun): Track => ({
  step: run.evaluations.map(({ step }) => step),
  value: run.evaluations.map(({ loss }) => loss),
})

const gapsIn = (series: readonly Series[]): string =>
  series.some(({ y }) => y.includes(null)) ? ' A line is interrupted where a seed has no value.' : ''

/** A figure with one line per arm; null if no arm has a value. */
export function armLines(
  runs: Runs,
  arms: readonly string[],
  figure: { readonly id: string; readonly caption: string; readonly y: string },
  trackOf: (run: FinishedRun) => Track | null,
): LineFigure | null {
  const marks = marksOf(runs, arms)
  const series = arms.flatMap((arm, i) => {
    const line = banded(
      runs.label(arm),
      runs.finished(arm).flatMap((run) => trackOf(run) ?? []),
    )
    return line === null ? [] : [{ ...line, mark: marks[i] ?? i }]
  })
  if (series.length === 0) return null
  return {
    kind: 'figure',
    id: slug(figure.id),
    caption: `${figure.caption} Mean over seeds; the band goes from the lowest to the highest seed.${gapsIn(series)}`,
    form: 'lines',
    x: { label: 'step', scale: 'linear' },
    y: { label: figure.y, scale: 'linear' },
    series,
  }
}

/** Share of training that is omitted at the start, where differences are large and do not predict the end. */
const WARMING_UP = 0.1

/**
 * Training losses of arms minus their baselines on the same batches: the difficulty of a batch cancels, so this
 * shows differences that the curves themselves hide.
 */
export function differenceCurves(runs: Runs, id: string, comparisons: readonly Comparison[]): LineFigure | null {
  const marks = contrastMarks(runs, comparisons)
  const series = comparisons.flatMap(({ arm, baseline, pairs, intervals }, i): Series[] => {
    const tracks = pairs.map((pair) => differenceTrack(lossTrack(pair.arm), lossTrack(pair.baseline)))
    const all = aligned(tracks)
    const last = all.at(-1)?.step ?? 0
    const rows = all.flatMap(({ step, values }) =>
      step < WARMING_UP * last ? [] : [{ step, estimate: values && estimateMean(values, intervals) }],
    )
    if (rows.every(({ estimate }) => estimate === null)) return []
    const end = (index: 0 | 1) => rows.map(({ estimate }) => estimate && (estimate.interval?.[index] ?? estimate.mean))
    const several = comparisons.some((other) => other.baseline !== baseline)
    return [
      {
        name: several ? `${runs.label(arm)} against ${runs.label(baseline)}` : runs.label(arm),
        x: rows.map(({ step }) => step),
        y: rows.map(({ estimate }) => estimate?.mean ?? null),
        ...(pairs.length < 2 ? {} : { low: end(0), high: end(1) }),
        mark: marks[i] ?? i,
      },
    ]
  })
  if (series.length === 0) return null
  return {
    kind: 'figure',
    id: slug(`${id}-difference`),
    caption: `Training loss of each arm minus that of its baseline on the same batches, without the first tenth of training. Mean over seeds; the band is the 95 % interval at each point.${gapsIn(series)}`,
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
    value: rows.map(({ values }) => values && (values[0] ?? 0) - (values[1] ?? 0)),
  }
}
