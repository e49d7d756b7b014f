/**
 * From columns to a curve: the x axis, smoothing, the stretch that is looked at, and no more points than a screen
 * shows. The order matters: smoothing runs over all points, so a curve looks the same at every zoom; only then is it
 * cut and thinned.
 */
import type { Series, XAxis } from '../api.ts'
import { lowerBound, type MetricColumns } from './metric-columns.ts'

export interface SeriesQuery {
  readonly x: XAxis
  /** Weight of what came before, from 0 (none) to below 1. */
  readonly smoothing: number
  /** Points to give at most, at least 4. */
  readonly points: number
  readonly from?: number
  readonly to?: number
}

/**
 * The curve of a metric such as `train/loss`; undefined when the run has none.
 * @param flopsPerToken Of training on a token; null when the model is not known, which leaves the `flops` axis empty.
 */
export function seriesOf(
  run: string,
  columns: MetricColumns,
  metric: string,
  query: SeriesQuery,
  flopsPerToken: number | null,
): Series | undefined {
  const [kind = '', ...name] = metric.split('/')
  const values = columns.table(kind)?.column(name.join('/'))
  if (!values) return undefined
  const places = forward(axisOf(columns, kind, query.x, flopsPerToken), query.from, query.to)
  const smoothed = query.smoothing > 0 ? smooth(values, query.smoothing) : values
  const chosen = thin(places.index, values, query.points)
  const at = (column: Float64Array) => Array.from(chosen, (row) => finite(column[row]))
  return {
    run,
    x: Array.from(chosen, (row) => places.x[row] ?? 0),
    y: at(smoothed),
    ...(query.smoothing > 0 && { raw: at(values) }),
    of: places.inRange,
  }
}

const finite = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null

/** The place of every record of a kind on an axis. */
function axisOf(columns: MetricColumns, kind: string, x: XAxis, flopsPerToken: number | null): Float64Array {
  const column = (name: string): Float64Array => columns.table(kind)?.column(name) ?? new Float64Array(0)
  if (x === 'step') return column('step')
  if (x === 'tokens') return column('tokens')
  if (x === 'flops') return column('tokens').map((tokens) => tokens * (flopsPerToken ?? Number.NaN))
  const train = columns.table('train')
  const seconds = train?.seconds ?? new Float64Array(0)
  if (kind === 'train') return seconds
  // An evaluation stands where training was when it began.
  const steps = train?.column('step') ?? new Float64Array(0)
  return column('step').map((step) => seconds[lowerBound(steps, step + 1) - 1] ?? 0)
}

/**
 * The rows in range, in order, and the neighbours on both sides, so that a line reaches the edges of what is looked
 * at. A row whose place is unknown, or behind that of one before it, is left out.
 */
function forward(
  x: Float64Array,
  from = Number.NEGATIVE_INFINITY,
  to = Number.POSITIVE_INFINITY,
): { x: Float64Array; index: Uint32Array; inRange: number } {
  const index = new Uint32Array(x.length)
  let [count, inRange, last] = [0, 0, Number.NEGATIVE_INFINITY]
  for (let row = 0; row < x.length; row++) {
    const place = x[row] ?? Number.NaN
    if (!Number.isFinite(place) || place < last) continue
    last = place
    // Of those before the range only the last stays.
    if (place < from) {
      index[0] = row
      count = 1
      continue
    }
    index[count++] = row
    if (place > to) break
    inRange++
  }
  return { x, index: index.subarray(0, count), inRange }
}

/** Share of the largest value so far. */
const FADED = 1e-4

/**
 * TensorBoard's smoothing: an exponential moving average from 0, divided by the share of its weights that lies in the
 * series so that early values are not drawn to 0; values that are not finite are passed over, and a constant series
 * is left as it is (tensorboard/components/vz_line_chart2/line-chart.ts, `resmoothDataset`). Where a
 * series rests, what is left of earlier values is taken for nothing once it is a ten-thousandth of the largest of them: a
 * count that has come to 0 would be drawn as a fall to 2e-16.
 */
export function smooth(values: Float64Array, weight: number): Float64Array {
  if (values.every((value) => value === values[0])) return values.slice()
  const smoothed = values.slice()
  let [average, count, share, largest, before] = [0, 0, 0, 0, Number.NaN]
  for (let row = 0; row < values.length; row++) {
    const value = values[row] ?? Number.NaN
    if (!Number.isFinite(value)) continue
    average = average * weight + (1 - weight) * value
    count++
    // Once it is 1 to the bit it stays so, and a power costs more than all the rest.
    if (share < 1) share = 1 - weight ** count
    const mean = average / share
    largest = Math.max(largest, Math.abs(value))
    const rests = value === before && Math.abs(mean - value) < FADED * largest
    smoothed[row] = rests ? value : mean
    before = value
  }
  return smoothed
}

/**
 * At most `points` of the rows: the first, the last, and of each of equally long stretches between them the rows of
 * the smallest and the largest value. A spike of one step in a million stays where it was.
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

/** One row or two, in order. Of a stretch without a finite value its first row, which is a gap in the curve. */
function extremes(rows: Uint32Array, values: Float64Array): number[] {
  let [least, most] = [-1, -1]
  let [smallest, largest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index] ?? 0
    const value = values[row] ?? Number.NaN
    if (!Number.isFinite(value)) continue
    if (value < smallest) [smallest, least] = [value, row]
    if (value > largest) [largest, most] = [value, row]
  }
  if (least < 0) return [...rows.subarray(0, 1)]
  if (least === most) return [least]
  return least < most ? [least, most] : [most, least]
}
