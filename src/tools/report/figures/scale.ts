/**
 * Maps values to pixels, on an axis with round ticks that covers every usable value of a figure.
 *
 * Values are measurements. There may be no values, all may be equal, and some may be infinite, or negative on a
 * logarithmic axis. `has` is false for values without a position; figures omit them and count them in a note.
 */
import { extent, ticks as roundTicks } from 'd3-array'
import { tickLabel } from './number-format.ts'

export interface Tick {
  readonly value: number
  /** Text of the tick; empty for minor ticks. */
  readonly label: string
}

export interface Scale {
  readonly domain: readonly [low: number, high: number]
  readonly ticks: readonly Tick[]
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
    ticks: kind === 'log' ? logTicks(domain, room) : linearTicks(domain, room),
    has: (value): value is number => usable(kind, value),
    at: (value) => range[0] + ((project(value) - low) / (high - low)) * (range[1] - range[0]),
  }
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

/** Whether two values differ by more than rounding errors, so that ticks fit between them. */
export const distinct = (low: number, high: number): boolean =>
  high - low > Math.max(MIN_MAGNITUDE, 1e-9 * Math.max(Math.abs(low), Math.abs(high)))

export function linearTicks([low, high]: readonly [number, number], room: number): Tick[] {
  const values = roundTicks(low, high, Math.max(1, room))
  const step = values.length > 1 ? Math.abs((values[1] ?? 0) - (values[0] ?? 0)) : Math.abs(values[0] ?? 1)
  const largest = Math.max(...values.map(Math.abs))
  return values.map((value) => ({ value, label: tickLabel(value, step, largest) }))
}

/**
 * Ticks of a logarithmic axis. Decades are labelled, and 2 and 5 too if there are few decades; other ticks have no
 * label. Within a decade, ticks are linear.
 */
export function logTicks(domain: readonly [number, number], room: number): Tick[] {
  const inside = (value: number) => value >= domain[0] && value <= domain[1]
  const [first, last] = [Math.floor(Math.log10(domain[0])), Math.ceil(Math.log10(domain[1]))]
  const decades = Array.from({ length: last - first + 1 }, (_, i) => first + i)
  const multiples = (factors: readonly number[]) =>
    decades.flatMap((decade) => factors.map((factor) => Number(`${factor}e${decade}`))).filter(inside)
  const tens = multiples([1])
  const halves = multiples([1, 2, 5])
  if (tens.length < 3 && halves.length < 3) return linearTicks(domain, room)
  // With fewer than three decades, 1 and 10 alone are too few labels.
  const labelled =
    [halves, multiples([1, 5])].find((values) => values.length <= 1.3 * room) ?? (tens.length < 3 ? halves : tens)
  const every = Math.max(1, Math.ceil(labelled.length / Math.max(2, room)))
  const labels = new Map(
    labelled.filter((_, i) => i % every === 0).map((value) => [value, tickLabel(value, value)] as const),
  )
  // Minor ticks of a dozen decades would merge into a grey bar.
  const all = decades.length <= 8 ? multiples([1, 2, 3, 4, 5, 6, 7, 8, 9]) : tens
  return all.map((value) => ({ value, label: labels.get(value) ?? '' }))
}
