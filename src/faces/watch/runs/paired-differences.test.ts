/** Differences of pairs of runs, on numbers that can be worked out by hand. */
import { describe, expect, test } from 'vitest'
import { anytimeQuantile } from '../../../tools/study/anytime.ts'
import type { PairedDifference, RunSummary } from '../api.ts'
import { MetricColumns } from './metric-columns.ts'
import { differencesOf, type RunPair } from './paired-differences.ts'
import type { WatchedRun } from './run.ts'
import { trackOf } from './series.ts'

type Losses = Readonly<Record<number, number | null>>

/** A run with these losses by step. */
function run(id: string, losses: Losses, summary: Partial<RunSummary> = {}, kind = 'eval'): WatchedRun {
  const columns = new MetricColumns()
  for (const [step, loss] of Object.entries(losses))
    columns.add(Buffer.from(JSON.stringify({ kind, step: Number(step), tokens: 100 * Number(step), loss })))
  const found: Partial<WatchedRun> = {
    id,
    summary: () => ({ state: 'finished', ...summary }) as RunSummary,
    track: (metric) => trackOf(columns, metric),
  }
  return found as WatchedRun
}

const pairsOf = (...losses: readonly (readonly [arm: Losses, baseline: Losses])[]): RunPair[] =>
  losses.map(([arm, baseline], i) => ({ arm: run(`arm${i}`, arm), baseline: run(`base${i}`, baseline) }))

const plain = { x: 'step', smoothing: 0, points: 800 } as const
const only = (
  pairs: readonly RunPair[],
  query: Partial<Parameters<typeof differencesOf>[2]> = {},
): PairedDifference => {
  const [found] = differencesOf('eval/loss', [pairs], { ...plain, ...query })
  if (!found) throw new Error('no difference')
  return found
}

/** Four pairs whose differences at step 20 are −0.020, −0.022, −0.020 and −0.022. */
const four = [3, 3.5, 2.5, 4].map((level, i) => {
  const difference = i % 2 === 0 ? -0.02 : -0.022
  return [
    { 10: level + 1, 20: level + difference },
    { 10: level + 1, 20: level },
  ] as const
})

describe('four pairs', () => {
  test('have the mean of their differences, in the interval that holds at every look, worked out by hand', () => {
    const found = only(pairsOf(...four))
    expect(found).toMatchObject({ run: 'arm0', x: [10, 20], pairs: [4, 4], of: 2, leftOut: [] })
    expect(found.y[1]).toBeCloseTo(-0.021, 12)
    // The standard deviation of the differences is 0.001·√(4/3), so the standard error is 0.0005774. With n = 4 and
    // c² = 0.1: r = 0.02439, k = (0.0025·r)^(−1/4) = 11.3165, and √(3·(k − 1)/(1 − k·r)) = 6.538 standard errors.
    expect(found.low[1]).toBeCloseTo(-0.021 - 0.003775, 6)
    expect(found.high[1]).toBeCloseTo(-0.021 + 0.003775, 6)
    // At step 10 all pairs are equal, so the interval has no width.
    expect([found.y[0], found.low[0], found.high[0]]).toEqual([0, 0, 0])
  })

  test('have a verdict at the last step', () => {
    const { verdict } = only(pairsOf(...four))
    expect(verdict).toMatchObject({ step: 20, pairs: 4, digits: 4, outcome: 'lower' })
    expect(verdict?.mean).toBeCloseTo(-0.021, 12)
    expect(verdict?.interval?.[1]).toBeCloseTo(-0.017225, 6)
    const swapped = pairsOf(...four).map(({ arm, baseline }) => ({ arm: baseline, baseline: arm }))
    expect(only(swapped).verdict?.outcome).toBe('higher')
  })

  test('can be placed by tokens, and cut to a range with a neighbour on each side', () => {
    const flat = { 10: 1, 20: 1, 30: 1, 40: 1, 50: 1 }
    expect(only(pairsOf([flat, flat]), { x: 'tokens' }).x).toEqual([1000, 2000, 3000, 4000, 5000])
    expect(only(pairsOf([flat, flat]), { from: 25, to: 35 })).toMatchObject({ x: [20, 30, 40], of: 1 })
  })
})

describe('pairs that differ in length', () => {
  test('are averaged over those that have a step, and counted', () => {
    const found = only(
      pairsOf(
        [
          { 10: 1, 20: 2, 30: 3 },
          { 10: 2, 20: 2, 30: 2 },
        ],
        // The baseline still runs; the arm has no value at step 20.
        [
          { 10: 4, 30: 1, 40: 1 },
          { 10: 2, 20: 2 },
        ],
      ),
    )
    expect(found).toMatchObject({ x: [10, 20, 30], y: [0.5, 0, 1], pairs: [2, 1, 1] })
  })

  test('have an interval only where there are at least three of them', () => {
    const long = [1, 2, 3, 4].map((step) => [step, step / 8] as const)
    const of = (steps: number) => Object.fromEntries(long.slice(0, steps))
    const zero = Object.fromEntries(long.map(([step]) => [step, 0]))
    const found = only(pairsOf([of(4), zero], [of(3), zero], [of(2), zero], [of(1), zero]))
    expect(found.pairs).toEqual([4, 3, 2, 1])
    expect(found.low).toEqual([0.125, 0.25, null, null])
    expect(found.high).toEqual([0.125, 0.25, null, null])
  })

  test('have their verdict at the last step that three of them have', () => {
    const zero = { 10: 0, 20: 0, 30: 0, 40: 0 }
    const done = { 10: 1, 20: 1, 30: 1, 40: 1 }
    const [begun, halfway] = [{ 10: 1 }, { 10: 1, 20: 1, 30: 1 }]
    expect(only(pairsOf([done, zero], [done, zero], [done, zero], [begun, zero])).verdict).toMatchObject({
      step: 40,
      pairs: 3,
    })
    expect(only(pairsOf([done, zero], [done, zero], [halfway, zero], [begun, zero])).verdict).toMatchObject({
      step: 30,
      pairs: 3,
    })
    // With two pairs there is no interval at any step, and the verdict is about both.
    expect(only(pairsOf([done, zero], [begun, zero])).verdict).toMatchObject({
      step: 10,
      pairs: 2,
      interval: null,
      outcome: 'open',
    })
    expect(only(pairsOf([done, zero])).verdict).toMatchObject({ step: 40, pairs: 1, interval: null })
  })
})

test('a running run counts up to its newest value, and more values are more points', () => {
  const baseline = run('b', { 10: 2, 20: 2, 30: 2 })
  const at = (losses: Losses) => only([{ arm: run('a', losses, { state: 'running' }), baseline }])
  expect(at({ 10: 1 })).toMatchObject({ x: [10], y: [-1] })
  expect(at({ 10: 1, 20: 1.5 })).toMatchObject({ x: [10, 20], y: [-1, -0.5] })
})

describe('left out, with their pairs and a reason, are runs', () => {
  const fine = pairsOf(...four)
  const [zero, one] = [
    { 10: 0, 20: 0 },
    { 10: 1, 20: 1 },
  ]

  test('that failed', () => {
    const failed = run('f', one, { state: 'failed', failure: 'step 21: the loss is NaN' })
    const found = only([...fine, { arm: failed, baseline: run('z', zero) }])
    expect(found.leftOut).toEqual([{ run: 'f', reason: 'step 21: the loss is NaN' }])
    expect(found.verdict).toEqual(only(fine).verdict)
    // A run that failed before its first evaluation is named too.
    const early = run('e', {}, { state: 'failed', failure: 'rank 1: killed' })
    expect(only([...fine, { arm: run('y', zero), baseline: early }]).leftOut).toEqual([
      { run: 'e', reason: 'rank 1: killed' },
    ])
  })

  test('whose newest loss is not finite; an earlier one only leaves a gap', () => {
    const [broken, spiked] = [run('n', { 10: 1, 20: null }), run('s', { 10: null, 20: 1 })]
    const found = only([...fine, { arm: broken, baseline: run('z', zero) }])
    expect(found.leftOut).toEqual([{ run: 'n', reason: 'its newest loss, at step 20, is not finite' }])
    expect(found.pairs).toEqual([4, 4])
    expect(only([...fine, { arm: spiked, baseline: run('y', zero) }])).toMatchObject({ pairs: [4, 5], leftOut: [] })
  })
})

test('a correction for all arms makes a difference that is barely visible only possible', () => {
  const spread = [-1, 1, -1, 1].map((sign) => sign * 0.001)
  const sd = 0.001 * Math.sqrt(4 / 3)
  // Just beyond the interval, so that p is just below 0.05.
  const mean = 1.02 * anytimeQuantile(4) * (sd / 2)
  const arm = (id: string): RunPair[] =>
    spread.map((each, i) => ({ arm: run(`${id}${i}`, { 10: mean + each }), baseline: run(`b${i}`, { 10: 0 }) }))
  const outcomes = (...arms: readonly RunPair[][]) =>
    differencesOf('eval/loss', arms, plain).map(({ verdict }) => verdict?.outcome)
  expect(outcomes(arm('a'))).toEqual(['higher'])
  expect(outcomes(arm('a'), arm('c'))).toEqual(['maybe-higher', 'maybe-higher'])
})

test('smoothing is that of curves, in each pair, and the verdict has none', () => {
  const [arm, zero] = [
    { 1: 1, 2: 2, 3: 0 },
    { 1: 0, 2: 0, 3: 0 },
  ]
  const pair = { arm: run('a', arm, {}, 'train'), baseline: run('b', zero, {}, 'train') }
  const [found] = differencesOf('train/loss', [[pair]], { ...plain, smoothing: 0.5 })
  // As in series.test.ts, by hand.
  for (const [i, value] of [57 / 51, 66 / 60, 48 / 51].entries()) expect(found?.y[i]).toBeCloseTo(value, 12)
  expect(found?.raw).toEqual([1, 2, 0])
  expect(found?.verdict).toMatchObject({ step: 3, mean: 0 })
})

test('many steps are thinned, and their extremes and the last step are kept', () => {
  const steps = Array.from({ length: 5000 }, (_, i) => i + 1)
  const arm = Object.fromEntries(steps.map((step) => [step, step === 2345 ? 9 : 1]))
  const found = only(pairsOf([arm, Object.fromEntries(steps.map((step) => [step, 1]))]), { points: 100 })
  expect(found.x.length).toBeLessThanOrEqual(100)
  expect([found.x[0], found.x.at(-1), found.of]).toEqual([1, 5000, 5000])
  expect(found.y[found.x.indexOf(2345)]).toBe(8)
})

test('an arm without a value of the metric has no points and no verdict; one without runs has no entry', () => {
  const pair = { arm: run('a', { 10: 1 }, {}, 'train'), baseline: run('b', { 10: 1 }) }
  expect(only([pair])).toMatchObject({ run: 'a', x: [], verdict: null })
  expect(differencesOf('eval/loss', [[]], plain)).toEqual([])
})
