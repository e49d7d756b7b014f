/**
 * Makes a curve from columns: x axis, smoothing, range, and thinning to what a screen can show. The order matters:
 * smoothing runs over all points, so that a curve looks the same at every zoom; only then is it cut and thinned.
 */
import { bisectLeft } from 'd3-array'
import type { Series, XAxis } from '../api.ts'
import type { MetricColumns } from './metric-columns.ts'

export interface SeriesQuery {
  readonly x: XAxis
  /** Weight of the next value on either side, from 0 (none) to below 1. */
  readonly smoothing: number
  /** Limit of points, at least 4. */
  readonly points: number
  readonly from?: number
  readonly to?: number
}

/** All values of a metric, by row; views that are valid until the next line is added. Steps ascend. */
export interface Track {
  readonly step: Float64Array
  readonly tokens: Float64Array
  readonly value: Float64Array
}

/** The values of a metric such as `train/loss`; undefined if the run does not have the metric. */
export function trackOf(columns: MetricColumns, metric: string): Track | undefined {
  const { kind, name } = partsOf(metric)
  const value = columns.table(kind)?.column(name)
  return value && { step: axisOf(columns, kind, 'step', null), tokens: axisOf(columns, kind, 'tokens', null), value }
}

/** The kind of record and the field of a metric. */
function partsOf(metric: string): { readonly kind: string; readonly name: string } {
  const [kind = '', ...name] = metric.split('/')
  return { kind, name: name.join('/') }
}

/**
 * The curve of a metric such as `train/loss`; undefined if the run does not have the metric.
 * @param flopsPerToken FLOPs to train on one token; null if the model is unknown, which leaves the `flops` axis empty.
 */
export function seriesOf(
  run: string,
  columns: MetricColumns,
  metric: string,
  query: SeriesQuery,
  flopsPerToken: number | null,
): Series | undefined {
  const { kind, name } = partsOf(metric)
  const values = columns.table(kind)?.column(name)
  if (!values) return undefined
  const rows = rowsInRange(axisOf(columns, kind, query.x, flopsPerToken), query.from, query.to)
  const smoothed = query.smoothing > 0 ? smooth(values, query.smoothing) : values
  const chosen = thin(rows.index, values, query.points)
  const at = (column: Float64Array) => Array.from(chosen, (row) => finite(column[row]))
  return {
    run,
    x: Array.from(chosen, (row) => rows.x[row] ?? 0),
    y: at(smoothed),
    ...(query.smoothing > 0 && { raw: at(values) }),
    of: rows.inRange,
  }
}

const finite = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null

/** The x value of every record of a kind. */
function axisOf(columns: MetricColumns, kind: string, x: XAxis, flopsPerToken: number | null): Float64Array {
  const column = (name: string): Float64Array => columns.table(kind)?.column(name) ?? new Float64Array(0)
  if (x === 'step') return column('step')
  if (x === 'tokens') return column('tokens')
  if (x === 'flops') return column('tokens').map((tokens) => tokens * (flopsPerToken ?? Number.NaN))
  const train = columns.table('train')
  const seconds = train?.seconds ?? new Float64Array(0)
  if (kind === 'train') return seconds
  // An evaluation has the time of the last training step before it.
  const steps = train?.column('step') ?? new Float64Array(0)
  return column('step').map((step) => seconds[bisectLeft(steps, step + 1) - 1] ?? 0)
}

/**
 * The rows in range, and one neighbour on each side, so that a line reaches the edges of the view. Rows whose x is
 * unknown, or smaller than an earlier one, are left out.
 */
function rowsInRange(
  x: Float64Array,
  from = Number.NEGATIVE_INFINITY,
  to = Number.POSITIVE_INFINITY,
): { x: Float64Array; index: Uint32Array; inRange: number } {
  const index = new Uint32Array(x.length)
  let [count, inRange, last] = [0, 0, Number.NEGATIVE_INFINITY]
  for (let row = 0; row < x.length; row++) {
    const value = x[row] ?? Number.NaN
    if (!Number.isFinite(value) || value < last) continue
    last = value
    // Before the range only the last row is kept.
    if (value < from) {
      index[0] = row
      count = 1
      continue
    }
    index[count++] = row
    if (value > to) break
    inRange++
  }
  return { x, index: index.subarray(0, count), inRange }
}

/** Below this share of the largest value, the remainder of other values counts as 0. */
const NEGLIGIBLE = 1e-4

/** Points across a curve. With more of them, the weight is for a distance of a part of the curve, and not of a point. */
const ACROSS = 400

/**
 * A smooth line without a lag: each value becomes the mean of all values, with the weights `weight ** d` at a distance of
 * `d` points, and this mean once more. These are the weights of TensorBoard's exponential moving average, but on both
 * sides: a mean of earlier values alone lies above a falling loss, and it has the corners of the values. A curve of more
 * than {@link ACROSS} points is as smooth as one of so many, as in the charts of Weights & Biases, whose smoothing
 * depends on the range too.
 *
 * Values that are not finite are skipped, and a constant series is unchanged. Once a series repeats a value and the
 * remainder of others is negligible, that value is used: a count that has reached 0 would otherwise be drawn as a fall
 * to 2e-16.
 */
export function smooth(values: Float64Array, weight: number): Float64Array {
  if (values.every((value) => value === values[0])) return values.slice()
  const sums = values.map((value) => (Number.isFinite(value) ? value : 0))
  const weights = values.map((value) => (Number.isFinite(value) ? 1 : 0))
  const count = weights.reduce((sum, each) => sum + each, 0)
  const perPoint = weight ** (ACROSS / Math.max(ACROSS, count))
  for (const column of [sums, sums, weights, weights]) weigh(column, perPoint)
  const negligible =
    NEGLIGIBLE * values.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0)
  let before = Number.NaN
  return values.map((value, row) => {
    if (!Number.isFinite(value)) return value
    const mean = (sums[row] ?? 0) / (weights[row] ?? 1)
    const isSettled = value === before && Math.abs(mean - value) < negligible
    before = value
    return isSettled ? value : mean
  })
}

/** Replaces each value by the sum of all values, each times `weight ** d` at a distance of `d`. */
function weigh(values: Float64Array, weight: number): void {
  const earlier = values.slice()
  for (let i = 1; i < values.length; i++) earlier[i] = (earlier[i] ?? 0) + weight * (earlier[i - 1] ?? 0)
  let later = 0
  for (let i = values.length - 1; i >= 0; i--) {
    const own = values[i] ?? 0
    values[i] = (earlier[i] ?? 0) + weight * later
    later = own + weight * later
  }
}

/**
 * Selects at most `points` rows: the first, the last, and from each of equally long stretches between them the rows of
 * the smallest and the largest value. A spike of one step in a million is therefore kept.
 */
export function thin(rows: Uint32Array, values: Float64Array, points: number): Uint32Array {
  if (rows.length <= points) return rows
  const stretches = Math.floor((points - 2) / 2)
  const inner = rows.subarray(1, -1)
  const chosen: number[] = [...rows.subarray(0, 1)]
  for (let stretch = 0; stretch < stretches; stretch++) {
    const start = Math.floor((stretch * inner.length) / stretches)
    const end = Math.floor(((stretch + 1) * inner.length) / stretches)
    chosen.push(...extremes(inner.subarray(start, end), values))
  }
  return Uint32Array.from([...chosen, ...rows.subarray(-1)])
}

/**
 * The rows of the smallest and the largest value, one or two, in order. Without a finite value it is the first row,
 * which leaves a gap in the curve.
 */
function extremes(rows: Uint32Array, values: Float64Array): number[] {
  let [minRow, maxRow] = [-1, -1]
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index] ?? 0
    const value = values[row] ?? Number.NaN
    if (!Number.isFinite(value)) continue
    if (value < min) [min, minRow] = [value, row]
    if (value > max) [max, maxRow] = [value, row]
  }
  if (minRow < 0) return [...rows.subarray(0, 1)]
  if (minRow === maxRow) return [minRow]
  return minRow < maxRow ? [minRow, maxRow] : [maxRow, minRow]
}
