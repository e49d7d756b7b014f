/**
 * Maps values to pixels, on an axis with round ticks that covers every usable value of a figure.
 *
 * Values are measurements. There may be no values, all may be equal, and some may be infinite, or negative on a
 * logarithmic axis. `has` is false for values without a position; figures omit them and count them in a note.
 */
import { extent } from 'd3-array'
import { distinct, linearTicks, logTicks, type Tick } from '../../../core/charts/ticks.ts'

export interface Scale {
  readonly domain: readonly [low: number, high: number]
  readonly ticks: readonly Tick[]
  /** Pixels where the axis is broken: outside them, distances are drawn shorter. */
  readonly breaks?: readonly number[]
  /** Whether a value has a position. */
  has(value: number | null | undefined): value is number
  /** Position of a value in pixels; finite for every value that `has` accepts. */
  at(value: number): number
}

/** Bounds of usable magnitudes. Beyond them, differences overflow or vanish. */
const MAX_MAGNITUDE = 1e150
const MIN_MAGNITUDE = 1e-150

export function usable(kind: 'linear' | 'log', value: number | null | undefined): value is number {
  if (typeof value !== 'number' || !Number.isFinite(value)) return false
  return kind === 'log' ? value >= MIN_MAGNITUDE && value <= MAX_MAGNITUDE : Math.abs(value) <= MAX_MAGNITUDE
}

/** A scale over the usable values. @param room approximate number of labelled ticks that fit */
export function scaleOf(
  kind: 'linear' | 'log',
  values: readonly (number | undefined)[],
  range: readonly [from: number, to: number],
  room: number,
): Scale {
  const domain = domainOf(
    kind,
    values.filter((value) => usable(kind, value)),
  )
  const project = kind === 'log' ? Math.log10 : (value: number) => value
  const [low, high] = [project(domain[0]), project(domain[1])]
  return {
    domain,
    ticks: (kind === 'log' ? logTicks : linearTicks)(...domain, room),
    has: (value): value is number => usable(kind, value),
    at: (value) => range[0] + ((project(value) - low) / (high - low)) * (range[1] - range[0]),
  }
}

/** Share of a broken axis for the values beyond one break. */
const BEYOND = 0.16

/**
 * A scale that gives most of its range to `inner` values. Values beyond them are still at a position, on a shorter scale
 * of their own after a break.
 */
export function brokenScale(
  kind: 'linear' | 'log',
  inner: readonly number[],
  all: readonly number[],
  [from, to]: readonly [from: number, to: number],
  room: number,
): Scale {
  const whole = scaleOf(kind, all, [from, to], room)
  const { domain } = scaleOf(kind, inner, [from, to], room)
  const [low, high] = extent(all.filter((value) => usable(kind, value)))
  const part = BEYOND * (to - from)
  const left = low !== undefined && low < domain[0] ? [from + part] : []
  const right = high !== undefined && high > domain[1] ? [to - part] : []
  const middle = scaleOf(kind, inner, [left[0] ?? from, right[0] ?? to], room)
  const before = piece(kind, [whole.domain[0], domain[0]], [from, from + part])
  const after = piece(kind, [domain[1], whole.domain[1]], [to - part, to])
  const inside = ({ value }: Tick) => value >= domain[0] && value <= domain[1]
  return {
    domain: whole.domain,
    ticks: [
      ...(left.length > 0 ? before.ticks : []),
      ...middle.ticks.filter(inside),
      ...(right.length > 0 ? after.ticks : []),
    ],
    breaks: [...left, ...right],
    has: whole.has,
    at: (value) => (value < domain[0] ? before : value > domain[1] ? after : middle).at(value),
  }
}

/** A scale whose ends are exactly these. */
function piece(kind: 'linear' | 'log', [low, high]: readonly [number, number], range: readonly [number, number]) {
  const project = kind === 'log' ? Math.log10 : (value: number) => value
  const share = (value: number) => (project(value) - project(low)) / (project(high) - project(low))
  const ticks = (kind === 'log' ? logTicks : linearTicks)(low, high, 2).filter(
    ({ value }) => share(value) > 0.15 && share(value) <= 1,
  )
  return { ticks, at: (value: number) => range[0] + share(value) * (range[1] - range[0]) }
}

/** Smallest and largest value, with a margin. */
function domainOf(kind: 'linear' | 'log', values: readonly number[]): [number, number] {
  const [low, high] = extent(values)
  if (low === undefined) return kind === 'log' ? [1, 10] : [0, 1]
  if (kind === 'log') {
    const factor = high / low < 1 + 1e-9 ? 2 : (high / low) ** 0.05
    return [low / factor, high * factor]
  }
  const span = high - low
  if (!distinct(low, high)) {
    const margin = Math.abs(low) < MIN_MAGNITUDE ? 1 : Math.abs(low) / 10
    return [low - margin, high + margin]
  }
  const margin = span * 0.05
  // Without negative values, an axis does not begin below zero.
  return [low >= 0 && low < margin ? 0 : low - margin, high <= 0 && -high < margin ? 0 : high + margin]
}
