/**
 * The lines that a card draws: one for each run, or one with a band for runs that differ only in their seeds. Each line
 * has its own x.
 */
import { bisectCenter } from 'd3-array'
import type { RunSummary, Series } from '../../../../src/faces/watch/api.ts'
import { experimentOf } from '../../runs/differences.ts'
import { sharedName } from '../../runs/names.ts'
import type { LineStyle } from '../../shared/line-styles.ts'

export interface Line {
  /** The run, or the first run of a band. */
  readonly run: string
  /** The other runs of a band. */
  readonly otherRuns?: readonly string[]
  readonly name: string
  readonly style: LineStyle
  readonly x: readonly number[]
  readonly y: readonly (number | null)[]
  /** Values before smoothing, at the same x. */
  readonly raw?: readonly (number | null)[]
  /** Minimum and maximum over seeds, and the number of runs at each x. */
  readonly band?: Band['band']
}

export function linesOf(
  series: readonly Series[],
  runs: ReadonlyMap<string, Pick<RunSummary, 'name' | 'config'>>,
  bands: boolean,
  styleOf: (run: string) => LineStyle,
): readonly Line[] {
  const groups = new Map<string, Series[]>()
  for (const each of series) {
    const config = runs.get(each.run)?.config
    const experiment = bands && config ? experimentOf(config) : null
    const key = experiment ?? `run ${each.run}`
    const group = groups.get(key)
    if (group) group.push(each)
    else groups.set(key, [each])
  }
  const nameOf = ({ run }: Series) => runs.get(run)?.name ?? run
  return [...groups.values()].map((group) => {
    const [first, ...rest] = group as [Series, ...Series[]]
    const line = { run: first.run, style: styleOf(first.run) }
    if (rest.length > 0) {
      const otherRuns = rest.map(({ run }) => run)
      return { ...line, otherRuns, name: nameOfSeeds(group.map(nameOf)), ...bandOver(group) }
    }
    const { x, y, raw } = first
    return { ...line, name: nameOf(first), x, y, ...(raw && { raw }) }
  })
}

export const lineOf = (lines: readonly Line[], run: string | null): Line | undefined =>
  run === null ? undefined : lines.find((line) => line.run === run || line.otherRuns?.includes(run))

/**
 * Name of a band: `k2-seed0` and `k2-seed1` become `k2 · 2 seeds`, and `k2, seed 1, lr 0.1` and `k2, seed 2, lr 0.1`
 * become `k2, lr 0.1 · 2 seeds`.
 */
export const nameOfSeeds = (names: readonly string[]): string => `${sharedName(names)} · ${names.length} seeds`

export interface Range {
  readonly min: number
  readonly max: number
}

export function rangeOfX(lines: readonly Line[]): Range | null {
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  for (const { x } of lines) {
    min = Math.min(min, x[0] ?? min)
    max = Math.max(max, x.at(-1) ?? max)
  }
  if (min > max) return null
  const hasDots = lines.some(({ x }) => x.length === 1)
  // The axis begins at 0 if the first point is near the start of training, or if all points have the same x: a single
  // evaluation at the end.
  if (min > 0 && (min === max || min < (hasDots ? 0.6 : 0.05) * max)) min = 0
  if (min === max) return { min: min - 0.5, max: max + 0.5 }
  // Without a margin the edges would cut dots in half.
  const margin = hasDots ? 0.02 * (max - min) : 0
  return { min: min === 0 ? 0 : min - margin, max: max + margin }
}

/** Whether there are so many lines that raw values are left out, because they would hide the lines. */
export const isCrowd = (lines: readonly Line[]): boolean => lines.length > 40

/** Raw values extend the range of y by at most this share on each side, so that a spike does not dominate. */
const RAW_STRETCH = 0.25

/** Range of lines and bands within the range of x, with a margin. */
export function rangeOfY(lines: readonly Line[], x: Range, log: boolean): Range | null {
  const scale = scaleOf(log)
  const shown = extent(lines, x, scale, ({ y, band }) => (band ? [y, band.low, band.high] : [y]))
  if (!shown) return null
  const raw = isCrowd(lines) ? null : extent(lines, x, scale, (line) => (line.raw ? [line.raw] : []))
  return withMargin(stretched(shown, raw ?? shown), log)
}

/** A range, extended towards the range of raw values by at most {@link RAW_STRETCH}. */
export function stretched(shown: Range, raw: Range): Range {
  const stretch = RAW_STRETCH * (shown.max - shown.min)
  return {
    min: Math.max(Math.min(shown.min, raw.min), shown.min - stretch),
    max: Math.min(Math.max(shown.max, raw.max), shown.max + stretch),
  }
}

export const scaleOf = (log: boolean): ((value: number) => number) => (log ? Math.log10 : (value) => value)
export const unscaleOf = (log: boolean): ((scaled: number) => number) =>
  log ? (exponent) => 10 ** exponent : (value) => value

type Column = readonly (number | null)[]

/** Minimum and maximum of the visible values, on a scale. */
function extent(
  lines: readonly Line[],
  x: Range,
  scale: (value: number) => number,
  columnsOf: (line: Line) => readonly Column[],
): Range | null {
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const line of lines) {
    for (const value of valuesIn(line, x, scale, columnsOf(line))) {
      if (value < min) min = value
      if (value > max) max = value
    }
  }
  return min > max ? null : { min, max }
}

/** Values of a line within the range of x, on a scale; values that the scale cannot represent are left out. */
export function valuesIn(
  line: Line,
  x: Range,
  scale: (value: number) => number,
  columns: readonly Column[],
): readonly number[] {
  const values: number[] = []
  for (const column of columns) {
    for (let i = 0; i < line.x.length; i++) {
      const [at, value] = [line.x[i] as number, column[i] ?? null]
      if (value === null || at < x.min || at > x.max) continue
      const scaled = scale(value)
      if (Number.isFinite(scaled)) values.push(scaled)
    }
  }
  return values
}

/** Adds a margin to a range that is given on the scale, and returns the range of values. */
export function withMargin({ min, max }: Range, log: boolean): Range {
  const unscale = unscaleOf(log)
  const margin = max > min ? 0.06 * (max - min) : Math.abs(max) * 0.1 || 1
  return { min: unscale(min - margin), max: unscale(max + margin) }
}

interface Band {
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

export interface HoverPoint {
  readonly x: number
  readonly y: number
  readonly left: number
  readonly top: number
}

export interface Reading {
  readonly line: Line
  readonly index: number
  /** Where on the x axis the line has this value. Lines have values at other steps than the pointer, and than each other. */
  readonly x: number
  readonly value: number
  /** Whether this line is the closest to the pointer. */
  readonly closest: boolean
}

const MAX_LINES = 12

/** The readings at the pointer. A line has a reading until slightly beyond its ends. */
export function readings(lines: readonly Line[], place: HoverPoint, range: Range, log: boolean): readonly Reading[] {
  const { x } = place
  const slack = 0.02 * (range.max - range.min)
  const found: Omit<Reading, 'closest'>[] = []
  for (const line of lines) {
    const index = bisectCenter(line.x, x)
    const value = line.y[index]
    const [start = Number.POSITIVE_INFINITY, end = Number.NEGATIVE_INFINITY] = [line.x[0], line.x.at(-1)]
    if (value === null || value === undefined || x < start - slack || x > end + slack) continue
    if (log && value <= 0) continue
    found.push({ line, index, x: line.x[index] ?? x, value })
  }
  const near = found.sort((one, other) => distance(one, place, log) - distance(other, place, log)).slice(0, MAX_LINES)
  const [closest] = near
  return near
    .map((reading) => ({ ...reading, closest: reading === closest }))
    .sort((one, other) => other.value - one.value)
}

/** Distance from the pointer along y, as drawn. */
const distance = ({ value }: Pick<Reading, 'value'>, { y }: HoverPoint, log: boolean): number =>
  Math.abs(log ? Math.log(value / y) : value - y)
