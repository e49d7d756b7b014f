/**
 * Differences between arms while their runs go on. An arm is a list of pairs of runs, its own and the baseline's of the
 * same seed, which read the same batches. At each step the differences of the pairs are averaged, with the report's
 * statistics and its intervals that hold however often one looks (tools/study/anytime.ts).
 *
 * They are computed here and not on the page: the page has thinned curves, whose points lie at other steps in each run,
 * and only the server may import the statistics of studies.
 */
import { bisectLeft } from 'd3-array'
import { digitsOf } from '../../../tools/study/analysis/numbers.ts'
import { type Outcome, outcomeOf } from '../../../tools/study/analysis/outcome.ts'
import { MIN_ANYTIME } from '../../../tools/study/anytime.ts'
import { type Estimate, estimateMean, holm } from '../../../tools/study/statistics.ts'
import type { DifferenceVerdict, PairedAxis, PairedDifference } from '../api.ts'
import type { WatchedRun } from './run.ts'
import { partsOf, rowsInRange, smooth, type Track, thin } from './series.ts'

/** Two runs of the same seed. */
export interface RunPair {
  readonly arm: WatchedRun
  readonly baseline: WatchedRun
}

export interface DifferencesQuery {
  readonly x: PairedAxis
  /** Weight of earlier differences of a pair, from 0 (none) to below 1. */
  readonly smoothing: number
  /** Limit of points of an arm, at least 4. */
  readonly points: number
  readonly from?: number
  readonly to?: number
}

/** Fewest pairs that have an interval. */
export const fewestPairs = MIN_ANYTIME

/** The differences of a metric, for the arms that have pairs. Their verdicts share one correction. */
export function differencesOf(
  metric: string,
  arms: readonly (readonly RunPair[])[],
  query: DifferencesQuery,
): readonly PairedDifference[] {
  const measured = arms.flatMap((pairs) => measure(metric, pairs, query) ?? [])
  const corrected = holm(measured.map(({ last }) => last?.estimate.p ?? null))
  return measured.map(({ last, ...difference }, i) => ({
    ...difference,
    verdict: last && verdictOf(last, corrected[i] ?? null),
  }))
}

interface AtStep {
  readonly step: number
  readonly estimate: Estimate
}

function measure(
  metric: string,
  pairs: readonly RunPair[],
  { x: axis, smoothing, points, from, to }: DifferencesQuery,
): (Omit<PairedDifference, 'verdict'> & { readonly last: AtStep | null }) | null {
  const [first] = pairs
  if (!first) return null
  const leftOut = new Map<string, string>()
  for (const run of pairs.flatMap(({ arm, baseline }) => [arm, baseline])) {
    const reason = whyLeftOut(run, metric)
    if (reason !== null) leftOut.set(run.id, reason)
  }
  const curves = pairs.flatMap(({ arm, baseline }) => {
    const [one, other] = [arm.track?.(metric), baseline.track?.(metric)]
    return one && other && !leftOut.has(arm.id) && !leftOut.has(baseline.id) ? differenceOf(one, other, smoothing) : []
  })
  const mean = meanOver(curves)
  const x = Float64Array.from(axis === 'step' ? mean.step : mean.tokens)
  const rows = rowsInRange(x, from, to)
  const chosen = Array.from(thin(rows.index, Float64Array.from(mean.value), points))
  const estimates = chosen.map((row) => estimateAt(curves, mean.step[row] ?? 0, ({ value }) => value))
  return {
    run: first.arm.id,
    x: chosen.map((row) => x[row] ?? 0),
    y: estimates.map((estimate) => estimate?.mean ?? 0),
    ...(smoothing > 0 && { raw: chosen.map((row) => mean.raw[row] ?? 0) }),
    low: estimates.map((estimate) => estimate?.interval?.[0] ?? null),
    high: estimates.map((estimate) => estimate?.interval?.[1] ?? null),
    pairs: chosen.map((row) => mean.pairs[row] ?? 0),
    of: rows.inRange,
    leftOut: [...leftOut].map(([run, reason]) => ({ run, reason })),
    last: lastOf(curves, mean),
  }
}

/** Why the pairs of a run are left out, as runs that failed are left out of a report; null if they are not. */
function whyLeftOut(run: WatchedRun, metric: string): string | null {
  const { state, failure } = run.summary()
  if (state === 'failed') return failure ?? 'it failed'
  const loss = run.track?.(`${partsOf(metric).kind}/loss`)
  return loss && Number.isNaN(loss.value.at(-1)) ? `its newest loss, at step ${loss.step.at(-1)}, is not finite` : null
}

/** Differences of a pair by step: smoothed, and as they are. Steps ascend. */
interface PairCurve extends Track {
  readonly raw: Float64Array
}

/** Arm minus baseline at the steps at which both have a finite value. */
function differenceOf(arm: Track, baseline: Track, smoothing: number): PairCurve {
  const [steps, tokens, values]: [number[], number[], number[]] = [[], [], []]
  for (let i = 0, j = 0; i < arm.step.length && j < baseline.step.length; ) {
    const [step = 0, other = 0] = [arm.step[i], baseline.step[j]]
    const value = (arm.value[i] ?? Number.NaN) - (baseline.value[j] ?? Number.NaN)
    if (step === other && Number.isFinite(value)) {
      steps.push(step)
      tokens.push(arm.tokens[i] ?? Number.NaN)
      values.push(value)
    }
    if (step <= other) i++
    if (other <= step) j++
  }
  const raw = Float64Array.from(values)
  return { step: Float64Array.from(steps), tokens: Float64Array.from(tokens), value: smooth(raw, smoothing), raw }
}

/** Columns by step, for every step of a curve: means over the curves that have the step, and their number. */
interface MeanCurve {
  readonly step: number[]
  readonly tokens: number[]
  readonly value: number[]
  readonly raw: number[]
  readonly pairs: number[]
}

function meanOver(curves: readonly PairCurve[]): MeanCurve {
  const found: MeanCurve = { step: [], tokens: [], value: [], raw: [], pairs: [] }
  const next = curves.map(() => 0)
  for (;;) {
    const step = Math.min(...curves.map((curve, i) => curve.step[next[i] ?? 0] ?? Number.POSITIVE_INFINITY))
    if (step === Number.POSITIVE_INFINITY) return found
    let [value, raw, pairs, tokens] = [0, 0, 0, Number.NaN]
    for (const [i, curve] of curves.entries()) {
      const row = next[i] ?? 0
      if (curve.step[row] !== step) continue
      value += curve.value[row] ?? 0
      raw += curve.raw[row] ?? 0
      tokens = curve.tokens[row] ?? Number.NaN
      pairs++
      next[i] = row + 1
    }
    found.step.push(step)
    found.tokens.push(tokens)
    found.value.push(value / pairs)
    found.raw.push(raw / pairs)
    found.pairs.push(pairs)
  }
}

/** The report's estimate of the mean difference at a step; null if no curve has the step. */
function estimateAt(
  curves: readonly PairCurve[],
  step: number,
  columnOf: (curve: PairCurve) => Float64Array,
): Estimate | null {
  const values = curves.flatMap((curve) => {
    const row = bisectLeft(curve.step, step)
    return curve.step[row] === step ? [columnOf(curve)[row] ?? 0] : []
  })
  return estimateMean(values, 'anytime')
}

/**
 * The step that the verdict is about: the last one that enough pairs for an interval have; if there are fewer pairs, the
 * last one that all of them have. It is chosen by the number of pairs and never by their values.
 */
function lastOf(curves: readonly PairCurve[], { step: steps, pairs }: MeanCurve): AtStep | null {
  const most = pairs.reduce((one, other) => Math.max(one, other), 0)
  const step = steps[pairs.findLastIndex((count) => count >= Math.min(fewestPairs, most))]
  if (step === undefined) return null
  const estimate = estimateAt(curves, step, ({ raw }) => raw)
  return estimate && { step, estimate }
}

const outcomes: Readonly<Record<Outcome, DifferenceVerdict['outcome']>> = {
  better: 'lower',
  worse: 'higher',
  'maybe-better': 'maybe-lower',
  'maybe-worse': 'maybe-higher',
  open: 'open',
  missing: 'open',
}

/** @param p p-value after Holm's correction; null without an interval */
function verdictOf({ step, estimate }: AtStep, p: number | null): DifferenceVerdict {
  const { n, mean, interval } = estimate
  return { step, pairs: n, mean, interval, digits: digitsOf(estimate), outcome: outcomes[outcomeOf(estimate, p)] }
}
