/**
 * The range of y without outliers. The first steps of a training, or one spike, would leave a few pixels for the rest.
 * A value is an outlier if it is far from the middle 60 % of its own line: beyond the middle by more than 0.4 of its
 * spread, which a straight line does not reach. So the steep part of a falling loss may be outside, its flat end is
 * not, and a line of few steps counts as much as a long one.
 */
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
/** A middle that is nearly constant, relative to the whole, has no spread to judge by. */
const MIN_SPREAD = 1e-9

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
  const [all, kept, raw] = [new Extent(), new Extent(), new Extent()]
  for (const line of lines) {
    const shown = valuesIn(line, x, scale, line.band ? [line.y, line.band.low, line.band.high] : [line.y])
    // Smoothing turns exact zeros into tiny numbers, so raw values are the better judge.
    const judged = line.raw ? valuesIn(line, x, scale, [line.raw]) : shown
    const [from, to] = fences(judged)
    for (const value of shown) {
      all.add(value)
      kept.add(Math.max(from, Math.min(to, value)))
    }
    if (line.raw && !isCrowd(lines)) for (const value of judged) raw.add(Math.max(from, Math.min(to, value)))
  }
  const [whole, part] = [all.max - all.min, kept.max - kept.min]
  if (part > MAX_SHARE * whole || part < MIN_SPREAD * whole) return { ...range, above: null, below: null }
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
}

function fences(values: readonly number[]): readonly [number, number] {
  const ordered = Float64Array.from(values).sort()
  const [low, high] = [quantile(ordered, TAIL), quantile(ordered, 1 - TAIL)]
  const reach = REACH * (high - low)
  return [low - reach, high + reach]
}

/** A quantile, interpolated between the two nearest values. */
function quantile(ordered: Float64Array, share: number): number {
  const place = share * (ordered.length - 1)
  const [low, high] = [ordered[Math.floor(place)] ?? 0, ordered[Math.ceil(place)] ?? 0]
  return low + (place - Math.floor(place)) * (high - low)
}
