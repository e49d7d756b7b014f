import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { XAxis } from '../api.ts'
import { MetricColumns } from './metric-columns.ts'
import { seriesOf, smooth, thin } from './series.ts'

const columnsOf = (records: readonly object[]): MetricColumns => {
  const columns = new MetricColumns()
  for (const record of records) columns.add(Buffer.from(JSON.stringify(record)))
  return columns
}
const train = (step: number, loss: number | null, more: object = {}) => ({
  kind: 'train',
  step,
  tokens: 10 * step,
  loss,
  step_ms: 500,
  ...more,
})
const all = { smoothing: 0, points: 1000 } as const
const curve = (columns: MetricColumns, metric: string, x: XAxis, more: object = {}) =>
  seriesOf('id', columns, metric, { x, ...all, ...more }, 6)

/** Smoothing by its definition: weights of all pairs of values, applied twice, over their sums. */
function smoothedByMatrix(values: readonly number[], weight: number): number[] {
  const apply = (column: readonly number[]) =>
    column.map((_, i) => column.reduce((sum, value, j) => sum + weight ** Math.abs(i - j) * value, 0))
  const [sums, weights] = [apply(apply(values)), apply(apply(values.map(() => 1)))]
  return sums.map((sum, i) => sum / (weights[i] as number))
}

test('smoothing is a mean of the values on both sides, computed by hand', () => {
  // With 0.5, the weights of three values are 1, 1/2, 1/4 for the first; applied twice, they are 21/16, 18/16, 12/16.
  const [first, second, third] = smooth(Float64Array.of(1, 2, 0), 0.5)
  expect(first).toBeCloseTo((21 + 2 * 18) / (21 + 18 + 12), 12)
  expect(second).toBeCloseTo((18 + 2 * 24) / (18 + 24 + 18), 12)
  expect(third).toBeCloseTo((12 + 2 * 18) / (12 + 18 + 21), 12)
})

test('smoothing has no direction, and matches its weights', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 2, maxLength: 60 }),
      fc.double({ min: 0.01, max: 0.99, noNaN: true }),
      (values, weight) => {
        fc.pre(values.some((value, i) => value !== values[i - 1] && i > 0))
        const smoothed = smooth(Float64Array.from(values), weight)
        for (const [i, expected] of smoothedByMatrix(values, weight).entries())
          expect(Math.abs((smoothed[i] as number) - expected)).toBeLessThan(0.101)
        const backwards = smooth(Float64Array.from(values).reverse(), weight).reverse()
        for (const [i, value] of backwards.entries())
          expect(Math.abs((smoothed[i] as number) - value)).toBeLessThan(0.101)
      },
    ),
  )
})

test('a line does not lag behind a falling loss, and noise leaves no corners, however many points there are', () => {
  for (const points of [300, 20_000]) {
    const falling = Float64Array.from({ length: points }, (_, i) => 5 - (2 * i) / points)
    const noisy = falling.map((value, i) => value + (i % 2 === 0 ? 0.3 : -0.3))
    const smoothed = smooth(noisy, 0.6)
    const inner = [...smoothed.keys()].slice(points / 10, -points / 10)
    const lags = inner.map((i) => Math.abs((smoothed[i] as number) - (falling[i] as number)))
    expect(Math.max(...lags)).toBeLessThan(0.01)
    const before = Math.ceil(points / 100)
    expect(inner.filter((i) => (smoothed[i] as number) >= (smoothed[i - before] as number))).toEqual([])
  }
})

test('values that are not finite are skipped', () => {
  const { NaN: missing, POSITIVE_INFINITY: infinite } = Number
  const smoothed = smooth(Float64Array.of(1, missing, 2, infinite, 0), 0.5)
  expect([smoothed[1], smoothed[3]]).toEqual([missing, infinite])
  const [first, , second, , third] = smoothed as unknown as [number, number, number, number, number]
  expect(first).toBeGreaterThan(1)
  expect(second).toBeLessThan(2)
  expect(third).toBeGreaterThan(0)
})

test('a constant series stays the same to the bit', () => {
  expect([...smooth(new Float64Array(100).fill(0.1), 0.97)]).toEqual(Array.from({ length: 100 }, () => 0.1))
})

test('a series that has settled is drawn at its value; one that moves is smoothed even after a large spike', () => {
  const fallen = smooth(Float64Array.from([8, ...new Array(60).fill(0)]), 0.5)
  expect(fallen[10]).toBeGreaterThan(0)
  expect([...fallen.slice(25)]).toEqual(new Array(36).fill(0))
  const spiked = smooth(Float64Array.from([1e12, ...Array.from({ length: 80 }, (_, i) => i % 2)]), 0.5)
  for (const value of spiked.slice(70)) expect(Math.abs(value - 0.5)).toBeLessThan(0.25)
})

test('a smoothed value lies between the smallest and the largest value', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1 }),
      fc.double({ min: 0.01, max: 0.99, noNaN: true }),
      (values, weight) => {
        for (const value of smooth(Float64Array.from(values), weight)) {
          expect(value).toBeGreaterThanOrEqual(Math.min(...values) - 1e-6)
          expect(value).toBeLessThanOrEqual(Math.max(...values) + 1e-6)
        }
      },
    ),
  )
})

test('thinning keeps first, last, smallest and largest, in order, and at most the requested number of points', () => {
  const value = fc.oneof(fc.double({ noNaN: true }), fc.constant(Number.NaN))
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 300 }), fc.integer({ min: 4, max: 50 }), (list, points) => {
      const values = Float64Array.from(list)
      const chosen = [...thin(Uint32Array.from(list.keys()), values, points)]
      expect(chosen.length).toBeLessThanOrEqual(points)
      expect(chosen).toEqual([...new Set(chosen)].sort((a, b) => a - b))
      expect([chosen[0], chosen.at(-1)]).toEqual([0, list.length - 1])
      const finite = (of: number[]) => of.filter(Number.isFinite)
      const kept = finite(chosen.map((row) => values[row] ?? Number.NaN))
      if (finite(list).length === 0) return
      expect(Math.min(...kept)).toBe(Math.min(...finite(list)))
      expect(Math.max(...kept)).toBe(Math.max(...finite(list)))
    }),
  )
})

test('a spike of one step in a hundred thousand is kept, and the number of points is reported', () => {
  const columns = columnsOf(Array.from({ length: 100_000 }, (_, index) => train(index + 1, index === 71_234 ? 99 : 1)))
  const series = curve(columns, 'train/loss', 'step', { points: 500 })
  expect(series?.of).toBe(100_000)
  expect(series?.x.length).toBeLessThanOrEqual(500)
  expect(series?.x[series.y.indexOf(99)]).toBe(71_235)
})

test('the x axis is steps, tokens, seconds of training or floating-point operations of the model', () => {
  const columns = columnsOf([train(1, 3), train(2, 2, { step_ms: null }), train(4, 1, { step_ms: 250 })])
  expect(curve(columns, 'train/loss', 'step')).toEqual({ run: 'id', x: [1, 2, 4], y: [3, 2, 1], of: 3 })
  expect(curve(columns, 'train/loss', 'tokens')?.x).toEqual([10, 20, 40])
  expect(curve(columns, 'train/loss', 'time')?.x).toEqual([0.5, 0.5, 0.75])
  expect(curve(columns, 'train/loss', 'flops')?.x).toEqual([60, 120, 240])
  expect(seriesOf('id', columns, 'train/loss', { x: 'flops', ...all }, null)?.of).toBe(0)
})

test('an evaluation has the time of the newest training step before it', () => {
  const evaluation = (step: number) => ({ kind: 'eval', step, tokens: 10 * step, loss: step })
  const columns = columnsOf([evaluation(0), train(1, 1), train(2, 1), evaluation(2), train(4, 1), evaluation(5)])
  expect(curve(columns, 'eval/loss', 'time')?.x).toEqual([0, 1, 1.5])
})

test('a value that is not a number is null, and an unknown metric is undefined', () => {
  const columns = columnsOf([train(1, 1), train(2, null), train(3, 2)])
  expect(curve(columns, 'train/loss', 'step')?.y).toEqual([1, null, 2])
  for (const metric of ['train/nothing', 'eval/loss', 'train', '', 'train/loss/more'])
    expect(curve(columns, metric, 'step')).toBeUndefined()
})

test('a range is cut from the smoothed curve, with a neighbour on each side for the line to the edge', () => {
  const columns = columnsOf([7, 1, 2, 0, 4, 8].map((loss, index) => train(index + 1, loss)))
  const series = curve(columns, 'train/loss', 'tokens', { smoothing: 0.5, from: 30, to: 40 })
  expect(series).toMatchObject({ run: 'id', x: [20, 30, 40, 50], raw: [1, 2, 0, 4], of: 2 })
  const whole = smoothedByMatrix([7, 1, 2, 0, 4, 8], 0.5)
  for (const [i, value] of whole.slice(1, 5).entries()) expect(series?.y[i]).toBeCloseTo(value, 12)
})

test('rows that go back in x are left out', () => {
  const columns = columnsOf([train(1, 1), train(2, 2, { tokens: 5 }), train(3, 3, { tokens: null }), train(4, 4)])
  expect(curve(columns, 'train/loss', 'tokens')).toMatchObject({ x: [10, 40], y: [1, 4] })
})
