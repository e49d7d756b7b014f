/**
 * The range of y without outliers. The first steps of a training, or one spike, would leave a few pixels for the rest.
 * A value is an outlier if it is far from the middle 60 % of its own line: beyond the middle by more than 0.4 of its
 * spread, which a straight line does not reach. So the steep part of a falling loss may be outside, its flat end is
 * not, and a line of few steps counts as much as a long one.
 *
 * A line that leaves the other lines, such as the loss of a run that diverged, has no middle of its own to judge by. If
 * it goes beyond the steadier half of the lines by more than five times their size, all of it that is beyond them is
 * outside. A line that is beyond as a whole counts as one of another size, and stays.
 */
import { quantileSorted } from 'd3-array'
import {
  isCrowd,
  type Line,
  type Range,
  rangeOfY,
  scaleOf,
  stretched,
  unscaleOf,
  valuesIn,
  withMargin,
} from './lines.ts'

/** Share of the values of a line on each side that may be outliers. */
const TAIL = 0.2
/** Distance beyond the middle up to which a value is no outlier, in spreads of the middle. */
const REACH = 0.4
/** Values are left out only if the remaining range is at most this share of the whole; less is not worth it. */
const MAX_SHARE = 0.75
/** A middle that is nearly constant, relative to its own size, has no spread to judge by. */
const MIN_SPREAD = 1e-9
/** Distance beyond the steadier half of the lines from which on a line has left them, in sizes of that half. */
const BEYOND_OTHERS = 5

/** The largest value above a range, and the smallest one below it; null if there is none. */
export interface Outside {
  readonly above: number | null
  readonly below: number | null
}

/** The range of y without outliers, and the extremes outside; null if there are no values. */
export function rangeWithoutOutliers(lines: readonly Line[], x: Range, log: boolean): (Range & Outside) | null {
  const range = rangeOfY(lines, x, log)
  if (!range) return null
  const scale = scaleOf(log)
  const found = lines.flatMap((line) => {
    const shown = valuesIn(line, x, scale, line.band ? [line.y, line.band.low, line.band.high] : [line.y])
    // Smoothing turns exact zeros into tiny numbers, so raw values are the better judge.
    const judged = line.raw ? valuesIn(line, x, scale, [line.raw]) : shown
    const own = fences(judged)
    return shown.length > 0
      ? [{ line, shown, judged, own, kept: extentOf(shown, own), whole: extentOf(shown, everything) }]
      : []
  })
  const fencesOf = fencesAmong(found, log)
  const [all, kept, raw] = [new Extent(), new Extent(), new Extent()]
  for (const each of found) {
    const range = fencesOf(each) ?? each.own
    all.include(each.whole)
    kept.include(extentOf(each.shown, range))
    if (each.line.raw && !isCrowd(lines)) raw.include(extentOf(each.judged, range))
  }
  const [whole, part] = [all.max - all.min, kept.max - kept.min]
  if (part > MAX_SHARE * whole || part <= MIN_SPREAD * Math.max(Math.abs(kept.min), Math.abs(kept.max)))
    return { ...range, above: null, below: null }
  const cut = withMargin(stretched(kept, raw.min <= raw.max ? raw : kept), log)
  const unscale = unscaleOf(log)
  const [lowest, highest] = [unscale(all.min), unscale(all.max)]
  return { ...cut, above: highest > cut.max ? highest : null, below: lowest < cut.min ? lowest : null }
}

class Extent implements Range {
  min = Number.POSITIVE_INFINITY
  max = Number.NEGATIVE_INFINITY

  add(value: number): void {
    if (value < this.min) this.min = value
    if (value > this.max) this.max = value
  }

  include({ min, max }: Range): void {
    if (min > max) return
    this.add(min)
    this.add(max)
  }
}

/** The extent of values that are moved to the nearest value of a range. */
function extentOf(values: readonly number[], { min, max }: Range): Range {
  const extent = new Extent()
  for (const value of values) extent.add(Math.max(min, Math.min(max, value)))
  return extent
}

const everything: Range = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY }

/** A line's extents: without its own outliers, and with them. */
interface Extents {
  readonly kept: Range
  readonly whole: Range
}

/**
 * Fences of lines that leave the others: the range of the steadier half of the lines, and {@link REACH} of it on both
 * sides. The function returns null for other lines.
 */
function fencesAmong(lines: readonly Extents[], log: boolean): (line: Extents) => Range | null {
  if (lines.length < 2) return () => null
  const steady = lines.toSorted(({ kept: one }, { kept: other }) => one.max - one.min - (other.max - other.min))
  const [kept, whole] = [new Extent(), new Extent()]
  for (const each of steady.slice(0, Math.ceil(lines.length / 2))) {
    kept.include(each.kept)
    whole.include(each.whole)
  }
  // On a linear axis the size is also the distance from zero, since equal losses differ by little. On a logarithmic
  // axis it is at least a decade.
  const size = Math.max(kept.max - kept.min, log ? 1 : Math.max(Math.abs(kept.min), Math.abs(kept.max)))
  const [far, near] = [BEYOND_OTHERS * size, REACH * (kept.max - kept.min || size)]
  const fence = { min: kept.min - near, max: kept.max + near }
  return (line) => {
    const isAmong = line.whole.max >= whole.min && line.whole.min <= whole.max
    const isGone = line.kept.max > kept.max + far || line.kept.min < kept.min - far
    return size > 0 && isAmong && isGone ? fence : null
  }
}

function fences(values: readonly number[]): Range {
  const ordered = Array.from(Float64Array.from(values).sort())
  const [low, high] = [TAIL, 1 - TAIL].map((share) => quantileSorted(ordered, share) ?? 0) as [number, number]
  const reach = REACH * (high - low)
  return { min: low - reach, max: high + reach }
}
