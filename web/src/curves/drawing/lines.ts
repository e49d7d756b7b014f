/**
 * What a card draws: a line for each run, or one with a band for runs that differ in nothing but their seeds. Places
 * on x differ from line to line; each line has its own.
 */
import type { RunSummary, Series } from '../../../../src/watch/api.ts'
import type { LineStyle } from '../../palette.ts'
import { experimentOf } from '../../runs/differences.ts'
import { bandOver } from './bands.ts'

export interface Line {
  /** The run, or the first of several. */
  readonly run: string
  /** The others of several. */
  readonly others?: readonly string[]
  readonly name: string
  readonly style: LineStyle
  readonly x: readonly number[]
  readonly y: readonly (number | null)[]
  /** Not smoothed, at the same places. */
  readonly raw?: readonly (number | null)[]
  /** Least and greatest of several seeds, and how many there are at each place. */
  readonly band?: {
    readonly low: readonly (number | null)[]
    readonly high: readonly (number | null)[]
    readonly count: readonly number[]
  }
}

export function linesOf(
  series: readonly Series[],
  runs: ReadonlyMap<string, Pick<RunSummary, 'name' | 'config'>>,
  bands: boolean,
  styleOf: (run: string) => LineStyle,
): readonly Line[] {
  const together = new Map<string, Series[]>()
  for (const each of series) {
    const config = runs.get(each.run)?.config
    const experiment = bands && config ? experimentOf(config) : null
    const key = experiment ?? `run ${each.run}`
    const others = together.get(key)
    if (others) others.push(each)
    else together.set(key, [each])
  }
  const nameOf = ({ run }: Series) => runs.get(run)?.name ?? run
  return [...together.values()].map((group) => {
    const [first, ...rest] = group as [Series, ...Series[]]
    const line = { run: first.run, style: styleOf(first.run) }
    if (rest.length > 0) {
      const others = rest.map(({ run }) => run)
      return { ...line, others, name: nameOfSeeds(group.map(nameOf)), ...bandOver(group) }
    }
    const { x, y, raw } = first
    return { ...line, name: nameOf(first), x, y, ...(raw && { raw }) }
  })
}

export const lineOf = (lines: readonly Line[], run: string | null): Line | undefined =>
  run === null ? undefined : lines.find((line) => line.run === run || line.others?.includes(run))

/** `k2-seed0` and `k2-seed1` are `k2 · 2 seeds`. */
export function nameOfSeeds(names: readonly string[]): string {
  const [first = ''] = names
  let shared = 0
  while (shared < first.length && names.every((name) => name[shared] === first[shared])) shared++
  const common = first.slice(0, shared).replace(/[^\p{L}\p{N}]*(?:seed|s)?[^\p{L}\p{N}]*$/u, '')
  return `${common === '' ? first : common} · ${names.length} seeds`
}

/** Index of the place nearest to x; -1 without places. */
export function nearest(places: readonly number[], x: number): number {
  let low = 0
  let high = places.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((places[middle] ?? 0) < x) low = middle + 1
    else high = middle
  }
  const [before, after] = [places[low - 1], places[low]]
  if (before === undefined) return after === undefined ? -1 : low
  return after === undefined || x - before <= after - x ? low - 1 : low
}

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
  // A first point near the start of training: the axis begins where training did, so that a dot is not at its edge.
  if (min > 0 && min < (hasDots ? 0.6 : 0.05) * max) min = 0
  if (min === max) return { min: min - 0.5, max: max + 0.5 }
  // The edges would cut a dot in two.
  const room = hasDots ? 0.02 * (max - min) : 0
  return { min: min === 0 ? 0 : min - room, max: max + room }
}

/** Among so many lines nobody sees the raw values behind them, and all together would hide them. */
export const isCrowd = (lines: readonly Line[]): boolean => lines.length > 40

/** Raw values stretch the range of y by this share of it at most, on each side: a spike must not rule. */
const RAW_STRETCH = 0.25

/** Of lines and bands within the range of x, with some room. */
export function rangeOfY(lines: readonly Line[], x: Range, log: boolean): Range | null {
  const scale = log ? Math.log10 : (value: number) => value
  const seen = extent(lines, x, scale, ({ y, band }) => (band ? [y, band.low, band.high] : [y]))
  if (!seen) return null
  const raw = isCrowd(lines) ? null : extent(lines, x, scale, (line) => (line.raw ? [line.raw] : []))
  const most = RAW_STRETCH * (seen.max - seen.min)
  const min = Math.max(Math.min(seen.min, raw?.min ?? seen.min), seen.min - most)
  const max = Math.min(Math.max(seen.max, raw?.max ?? seen.max), seen.max + most)
  return roomy(min, max, log ? (exponent) => 10 ** exponent : (value) => value)
}

type Column = readonly (number | null)[]

/** Least and greatest on a scale, without what has no place on it. */
function extent(
  lines: readonly Line[],
  x: Range,
  scale: (value: number) => number,
  columnsOf: (line: Line) => readonly Column[],
): Range | null {
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const line of lines) {
    for (const column of columnsOf(line)) {
      for (let i = 0; i < line.x.length; i++) {
        const [at, value] = [line.x[i] as number, column[i] ?? null]
        if (value === null || at < x.min || at > x.max) continue
        const place = scale(value)
        if (!Number.isFinite(place)) continue
        if (place < min) min = place
        if (place > max) max = place
      }
    }
  }
  return min > max ? null : { min, max }
}

function roomy(min: number, max: number, back: (value: number) => number): Range {
  const room = max > min ? 0.06 * (max - min) : Math.abs(max) * 0.1 || 1
  return { min: back(min - room), max: back(max + room) }
}
