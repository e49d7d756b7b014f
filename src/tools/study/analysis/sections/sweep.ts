/**
 * Quality against the values of a sweep: for each numeric setting in which arms differ, their loss over its values. Arms
 * that agree in all other settings are joined by a line.
 */
import { group } from 'd3-array'
import type { LineFigure } from '../../../report/blocks.ts'
import type { Question } from '../../contract.ts'
import { estimateMean } from '../../statistics.ts'
import { armsOf, type Runs } from '../runs.ts'
import { slug } from '../tables.ts'

/** Largest number of lines in a figure: more cannot be distinguished. */
const MAX_LINES = 10

/** A numeric setting in which arms differ. */
export interface Swept {
  readonly path: string
  /** Distinct values, rising. */
  readonly values: readonly number[]
  /** Lists of at least two arms that differ only in this setting, by their other settings (`k=2`). */
  readonly lines: ReadonlyMap<string, readonly string[]>
}

export function swept(runs: Runs, arms: readonly string[]): Swept[] {
  const settings = runs.results.arms
  const paths = [...new Set(arms.flatMap((arm) => Object.keys(settings[arm] ?? {})))]
  return paths.flatMap((path) => {
    const numeric = arms.filter((arm) => typeof runs.setting(arm, path) === 'number')
    const others = (arm: string) =>
      Object.entries(settings[arm] ?? {})
        .filter(([other]) => other !== path)
        .map(([other, value]) => `${other.split('.').at(-1)}=${JSON.stringify(value)}`)
        .join(', ')
    const lines = new Map([...group(numeric, others)].filter(([, joined]) => joined.length > 1))
    const values = [...lines.values()].flat().map((arm) => runs.numberSetting(arm, path, 0))
    const distinct = [...new Set(values)].sort((a, b) => a - b)
    return distinct.length < 2 ? [] : [{ path, values: distinct, lines }]
  })
}

/** One figure for each setting; settings without a finished run are left out. */
export function sweepFigures(runs: Runs, { id, contrasts }: Question): LineFigure[] {
  return swept(runs, armsOf(contrasts)).flatMap(({ path, values, lines }) => {
    const series = [...lines].slice(0, MAX_LINES).flatMap(([name, arms]) => seriesOf(runs, path, name, arms))
    if (series.length === 0) return []
    const left = lines.size - Math.min(lines.size, MAX_LINES)
    const only = left > 0 ? ` The first ${MAX_LINES} of ${lines.size} combinations of other settings are drawn.` : ''
    return [
      {
        kind: 'figure',
        id: slug(`${id}-${path}`),
        caption: `Held-out loss over ${path}: each ring is a run, the line is the mean over seeds, the band its 95 % interval. Seeds shift all arms alike, so the band is wider than the intervals of differences between arms.${only}`,
        form: 'lines',
        x: { label: path, scale: scaleFor(values) },
        y: { label: 'held-out loss, nats a token', scale: 'linear' },
        series,
      } satisfies LineFigure,
    ]
  })
}

function seriesOf(given: Runs, path: string, name: string, arms: readonly string[]): LineFigure['series'] {
  const runs = given.comparing(arms)
  const points = arms
    .flatMap((arm) => {
      const losses = runs.finished(arm).map((run) => runs.lossOf(run))
      const estimate = estimateMean(losses, runs.intervalsFor([arm]))
      return estimate === null ? [] : [{ x: runs.numberSetting(arm, path, 0), losses, estimate }]
    })
    .toSorted((a, b) => a.x - b.x)
  if (points.length === 0) return []
  const hasBand = points.some(({ estimate }) => estimate.interval)
  const end = (side: 0 | 1) => points.map(({ estimate }) => estimate.interval?.[side] ?? estimate.mean)
  return [
    {
      name: name === '' ? 'mean' : name,
      x: points.map(({ x }) => x),
      y: points.map(({ estimate }) => estimate.mean),
      ...(hasBand && { low: end(0), high: end(1) }),
      dots: points.flatMap(({ x, losses }) => losses.map((y) => ({ x, y }))),
    },
  ]
}

/** The scale for values: logarithmic if ratios of neighbouring values vary less than their distances do. */
export function scaleFor(values: readonly number[]): 'linear' | 'log' {
  const [first = 0] = values
  if (first <= 0 || values.length < 3) return 'linear'
  const spread = (project: (value: number) => number) => {
    const gaps = values.slice(1).map((value, i) => project(value) - project(values[i] ?? value))
    return Math.max(...gaps) / Math.min(...gaps)
  }
  return spread(Math.log) < spread((value) => value) ? 'log' : 'linear'
}
