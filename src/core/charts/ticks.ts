/** Ticks of an axis: few, round and evenly spaced, each with the digits that it needs. */
import { ticks as roundNumbers } from 'd3-array'
import { tickLabel } from '../text/number-labels.ts'

export interface Tick {
  readonly value: number
  /** Text of the tick; empty for minor ticks. */
  readonly label: string
}

/** Distances below this are treated as none. */
const MIN_DISTANCE = 1e-150

/** Whether two values differ by more than rounding errors, so that ticks fit between them. */
export const distinct = (low: number, high: number): boolean =>
  Number.isFinite(high - low) && high - low > Math.max(MIN_DISTANCE, 1e-9 * Math.max(Math.abs(low), Math.abs(high)))

/**
 * Multiples of 1, 2 or 5 times a power of ten; none if the range is infinite or too small for distinct ticks.
 * @param room approximate number of ticks that fit
 */
export function linearTicks(low: number, high: number, room: number): Tick[] {
  const values = distinct(low, high) ? roundNumbers(low, high, Math.max(1, room)) : []
  const step = values.length > 1 ? Math.abs((values[1] ?? 0) - (values[0] ?? 0)) : Math.abs(values[0] ?? 1)
  const largest = Math.max(...values.map(Math.abs))
  return values.map((value) => ({ value, label: tickLabel(value, step, largest) }))
}

/**
 * Ticks of a logarithmic axis. Decades are labelled, and 2 and 5 too if there are few decades; other ticks have no
 * label. Within a decade, ticks are linear. There are none if the range is empty, infinite, or reaches zero.
 * @param room approximate number of labelled ticks that fit
 */
export function logTicks(low: number, high: number, room: number): Tick[] {
  if (!(low > 0) || !distinct(low, high)) return []
  const inside = (value: number) => value >= low && value <= high
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))]
  const decades = Array.from({ length: last - first + 1 }, (_, i) => first + i)
  const multiples = (factors: readonly number[]) =>
    decades.flatMap((decade) => factors.map((factor) => Number(`${factor}e${decade}`))).filter(inside)
  const tens = multiples([1])
  const halves = multiples([1, 2, 5])
  if (tens.length < 3 && halves.length < 3) return linearTicks(low, high, room)
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
