/**
 * From values to places: an axis that shows every usable value of a figure, with round ticks.
 *
 * Values are measurements and may be anything: none at all, all equal, infinite, negative on a logarithmic
 * axis. What cannot be placed is not; `has` says so, and figures leave it out in the open.
 */
import { extent, ticks as roundTicks } from 'd3-array'
import { tickLabel } from './numerals.ts'

export interface Tick {
  readonly value: number
  /** Empty for minor ticks. */
  readonly label: string
}

export interface Scale {
  readonly domain: readonly [low: number, high: number]
  readonly ticks: readonly Tick[]
  /** Whether a value has a place. */
  has(value: number | null | undefined): value is number
  /** Place of a value, in pixels; finite for every value that `has` accepts. */
  at(value: number): number
}

/** Beyond these, differences overflow or vanish. */
const MAX_MAGNITUDE = 1e150
const MIN_MAGNITUDE = 1e-150

export function usable(kind: 'linear' | 'log', value: number | null | undefined): value is number {
  if (typeof value !== 'number' || !Number.isFinite(value)) return false
  return kind === 'log' ? value >= MIN_MAGNITUDE && value <= MAX_MAGNITUDE : Math.abs(value) <= MAX_MAGNITUDE
}

/** @param room about how many labelled ticks there is room for */
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

/** Least and greatest value with some air around them. */
function domainOf(kind: 'linear' | 'log', values: readonly number[]): [number, number] {
  const [low, high] = extent(values)
  if (low === undefined) return kind === 'log' ? [1, 10] : [0, 1]
  if (kind === 'log') {
    const factor = high / low < 1 + 1e-9 ? 2 : (high / low) ** 0.05
    return [low / factor, high * factor]
  }
  const span = high - low
  if (!apart(low, high)) {
    const air = Math.abs(low) < MIN_MAGNITUDE ? 1 : Math.abs(low) / 10
    return [low - air, high + air]
  }
  const air = span * 0.05
  // An axis of quantities that cannot be negative does not begin below zero.
  return [low >= 0 && low < air ? 0 : low - air, high <= 0 && -high < air ? 0 : high + air]
}

/** Whether there can be ticks between two values: closer ones are equal but for rounding. */
export const apart = (low: number, high: number): boolean =>
  high - low > Math.max(MIN_MAGNITUDE, 1e-9 * Math.max(Math.abs(low), Math.abs(high)))

export function linearTicks([low, high]: readonly [number, number], room: number): Tick[] {
  const values = roundTicks(low, high, Math.max(1, room))
  const step = values.length > 1 ? Math.abs((values[1] ?? 0) - (values[0] ?? 0)) : Math.abs(values[0] ?? 1)
  const most = Math.max(...values.map(Math.abs))
  return values.map((value) => ({ value, label: tickLabel(value, step, most) }))
}

/** Decades with 2 to 9 between them; 1, 2, 5 when there are few decades; plain ticks within one. */
export function logTicks(domain: readonly [number, number], room: number): Tick[] {
  const inside = (value: number) => value >= domain[0] && value <= domain[1]
  const [first, last] = [Math.floor(Math.log10(domain[0])), Math.ceil(Math.log10(domain[1]))]
  const decades = Array.from({ length: last - first + 1 }, (_, i) => first + i)
  const times = (factors: readonly number[]) =>
    decades.flatMap((decade) => factors.map((factor) => Number(`${factor}e${decade}`))).filter(inside)
  const tens = times([1])
  const halves = times([1, 2, 5])
  if (tens.length < 3 && halves.length < 3) return linearTicks(domain, room)
  // With fewer than three decades there is no choice: 1 and 10 alone say too little.
  const labelled =
    [halves, times([1, 5])].find((values) => values.length <= 1.3 * room) ?? (tens.length < 3 ? halves : tens)
  const every = Math.max(1, Math.ceil(labelled.length / Math.max(2, room)))
  const named = new Map(
    labelled.filter((_, i) => i % every === 0).map((value) => [value, tickLabel(value, value)] as const),
  )
  // Minor ticks of a dozen decades would be a grey bar.
  const all = decades.length <= 8 ? times([1, 2, 3, 4, 5, 6, 7, 8, 9]) : tens
  return all.map((value) => ({ value, label: named.get(value) ?? '' }))
}
