/**
 * Searches a whole number at which a quantity is near a target. Some numbers are not accepted: a width must be a
 * multiple of the number of heads, for example. The quantity must rise or fall over the accepted numbers, as parameters
 * and FLOPs do with every size of a model.
 */

/** The range of a number, both ends included. */
export interface Range {
  readonly min: number
  readonly max: number
}

/** A number that is accepted, with its quantity. */
export interface Point {
  readonly value: number
  readonly reached: number
}

/** The quantity of a number; null if the number is not accepted. */
type QuantityOf = (value: number) => number | null

/** The largest number of refused numbers in a row that are skipped; after more, the accepted numbers count as ended. */
const MAX_GAP = 4096

/** The first accepted number from one number to another, in this order. */
function firstOf(from: number, to: number, quantityOf: QuantityOf): Point | null {
  const direction = from <= to ? 1 : -1
  const count = Math.min(Math.abs(to - from), MAX_GAP) + 1
  for (let i = 0; i < count; i++) {
    const value = from + direction * i
    const reached = quantityOf(value)
    if (reached !== null) return { value, reached }
  }
  return null
}

/**
 * Whether another accepted number has the same quantity as a number. The quantity rises or falls, so that is one of the
 * two accepted numbers next to it.
 */
export const hasTwin = ({ min, max }: Range, quantityOf: QuantityOf, { value, reached }: Point): boolean =>
  (value > min && firstOf(value - 1, min, quantityOf)?.reached === reached) ||
  (value < max && firstOf(value + 1, max, quantityOf)?.reached === reached)

/**
 * The two neighbouring accepted numbers with the target between their quantities, the lower number first. The first one
 * has not reached the target; the second one has, or has gone beyond it. If all quantities are on one side of the
 * target, only the number at the end that is nearer to it is returned. Empty if no number is accepted.
 */
export function neighbours({ min, max }: Range, quantityOf: QuantityOf, target: number): Point[] {
  const first = (from: number, to: number) => firstOf(from, to, quantityOf)
  /** The first accepted number from the middle of an open interval upwards, else downwards. */
  const between = (low: number, middle: number, high: number): Point | null =>
    (middle < high ? first(middle, high - 1) : null) ?? (low + 1 < middle ? first(middle - 1, low + 1) : null)

  const lowest = first(min, max)
  if (lowest === null) return []
  const side = Math.sign(lowest.reached - target)
  const isBeyond = ({ reached }: Point) => Math.sign(reached - target) !== side
  if (side === 0) return [lowest]

  let low = lowest
  let high: Point | null = null
  for (let span = 1; high === null && low.value < max; span *= 2) {
    const found = between(low.value, Math.min(low.value + span, max), max + 1)
    if (found === null) break
    if (isBeyond(found)) high = found
    // The quantity leads away from the target, so no larger number comes nearer.
    else if (Math.abs(found.reached - target) > Math.abs(low.reached - target)) break
    else low = found
  }
  if (high === null) return [low]
  while (high.value - low.value > 1) {
    const found = between(low.value, Math.floor((low.value + high.value) / 2), high.value)
    if (found === null) break
    if (isBeyond(found)) high = found
    else low = found
  }
  return [low, high]
}
