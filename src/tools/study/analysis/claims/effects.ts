/**
 * Measures the effect that a claim is about, by seed, with its scale and unit. Effects of every kind are negative
 * where the arm is better: a lower loss, fewer steps, a falling trend.
 */

import { type Claim, counts } from '../../claim.ts'
import type { Contrast, FinishedRun, Question } from '../../contract.ts'
import { valueAt } from '../../grid/settings.ts'
import { type Interval, NORMAL_FREEDOM, pearson, regression } from '../../statistics.ts'
import { betweenTexts } from '../between-texts.ts'
import { effectOf, productOf } from '../ratios.ts'
import type { Runs } from '../runs.ts'
import { costToLoss, ratiosOf } from '../sections/cost-to-loss.ts'
import { imbalancePoints } from '../sections/imbalance.ts'
import type { Effect } from './decision.ts'

/** How an effect is printed: as it is, as the ratio whose logarithm it is, or as the r whose Fisher's z it is. */
export type Scale = 'linear' | 'log' | 'fisher'

export interface Measured {
  /** The contrast in words, or the first and last point of a trend. */
  readonly label: string
  /** Arms involved: if one sees later tokens, the answer is marked. */
  readonly arms: readonly string[]
  readonly scale: Scale
  readonly unit: string
  /** The measured effect; null without enough runs. */
  readonly effect: Effect | null
  /** 95 % interval over documents; only for a difference in loss, and for enough documents. */
  readonly texts?: Interval | null
}

const contrastsOf = (claim: Claim, question: Question): readonly Contrast[] =>
  'contrasts' in claim && claim.contrasts
    ? claim.contrasts.map(([baseline, arm]) => ({ baseline, arm }))
    : question.contrasts

/** `arm against baseline`, each with † if it sees later tokens. */
export const contrastText = (runs: Runs, { arm, baseline }: Contrast): string =>
  `${runs.label(arm)} against ${runs.label(baseline)}`

export function measureClaim(runs: Runs, claim: Claim, question: Question): readonly Measured[] {
  switch (claim.kind) {
    case 'difference':
      return contrastsOf(claim, question).map((contrast) => measureWithTexts(runs, contrast))
    case 'speed':
      return contrastsOf(claim, question).map((contrast) => measureSpeed(runs, contrast, claim.measure))
    case 'trend':
    case 'returns':
      return [measureTrend(runs, claim, question)]
    case 'correlation':
      return [measureCorrelation(runs, question)]
  }
}

/** Arm minus baseline by seed, with the interval over documents. */
export const measureWithTexts = (runs: Runs, contrast: Contrast): Measured => ({
  ...measureDifference(runs, contrast),
  texts: betweenTexts(runs, runs.pairs(contrast))?.interval ?? null,
})

/** Arm minus baseline by seed. @param seeds Seeds that are used; default: all. */
export function measureDifference(runs: Runs, contrast: Contrast, seeds?: readonly number[]): Measured {
  return {
    label: contrastText(runs, contrast),
    arms: [contrast.baseline, contrast.arm],
    scale: 'linear',
    unit: 'nats a token',
    effect: effectOf(runs.differences(contrast, seeds), runs.intervalsFor([contrast.baseline, contrast.arm])),
  }
}

const costNames = { steps: 'steps', flops: 'FLOPs', seconds: 'seconds' } as const

function measureSpeed(runs: Runs, contrast: Contrast, measure: 'steps' | 'flops' | 'seconds'): Measured {
  const cost = costToLoss(runs, contrast)
  const intervals = runs.intervalsFor([contrast.baseline, contrast.arm])
  const effect =
    measure === 'seconds' && cost.turns
      ? productOf(ratiosOf(cost, 'steps'), cost.turns, intervals)
      : effectOf(ratiosOf(cost, measure).map(Math.log), intervals)
  return {
    label: contrastText(runs, contrast),
    arms: [contrast.baseline, contrast.arm],
    scale: 'log',
    unit: `× the ${costNames[measure]} to the same loss`,
    effect,
  }
}

/** A point of a trend: log₂ of the independent variable, and a value by seed. */
export interface Point {
  readonly label: string
  readonly x: number
  readonly bySeed: ReadonlyMap<number, number>
}

/** Points of a claim of kind `trend` or `returns`, sorted by x, without points that have no runs. */
export function pointsOf(
  runs: Runs,
  claim: Extract<Claim, { kind: 'trend' | 'returns' }>,
  question: Question,
): readonly Point[] {
  const points = claim.arms
    ? claim.arms.map((arm): Point => {
        const finished = runs.comparing(claim.arms ?? []).finished(arm)
        return {
          label: runs.label(arm),
          x: logOf(finished[0], claim.over),
          bySeed: new Map(finished.map((run) => [run.seed, runs.lossOf(run)])),
        }
      })
    : contrastsOf(claim, question).map((contrast): Point => {
        const pairs = runs.pairs(contrast)
        return {
          label: runs.label(contrast.arm),
          x: logOf(pairs[0]?.arm, claim.over),
          bySeed: new Map(pairs.map(({ seed, arm, baseline }) => [seed, runs.lossOf(arm) - runs.lossOf(baseline)])),
        }
      })
  return points.filter(({ x }) => Number.isFinite(x)).toSorted((a, b) => a.x - b.x)
}

function logOf(run: FinishedRun | undefined, over: string): number {
  if (run === undefined) return Number.NaN
  const count = counts.find((name) => name === over)
  const value = count === undefined ? valueAt(run.config, over.split('.')) : run[count]
  return typeof value === 'number' && value > 0 ? Math.log2(value) : Number.NaN
}

/**
 * The points of each seed that has all of them. The trend of a seed with a missing point would differ for that reason
 * alone.
 */
export function linesOf(points: readonly Pick<Point, 'x' | 'bySeed'>[]): { x: number[]; y: number[] }[] {
  const seeds = new Set(points.flatMap(({ bySeed }) => [...bySeed.keys()]))
  return [...seeds].flatMap((seed) => {
    const line = points.flatMap(({ x, bySeed }) => {
      const y = bySeed.get(seed)
      return y === undefined ? [] : [{ x, y }]
    })
    return line.length < points.length ? [] : [{ x: line.map(({ x }) => x), y: line.map(({ y }) => y) }]
  })
}

function measureTrend(runs: Runs, claim: Extract<Claim, { kind: 'trend' | 'returns' }>, question: Question): Measured {
  const points = pointsOf(runs, claim, question)
  const values = linesOf(points).flatMap(
    ({ x, y }) => (claim.kind === 'trend' ? regression(x, y)?.slope : bend(x, y)) ?? [],
  )
  const arms = claim.arms ?? contrastsOf(claim, question).flatMap(({ baseline, arm }) => [baseline, arm])
  const over = claim.over.split('.').at(-1) ?? claim.over
  const slope = `nats per doubling of ${over === 'activeParameters' ? 'active parameters' : over}`
  return {
    label: `${points[0]?.label ?? '–'} to ${points.at(-1)?.label ?? '–'}`,
    arms: [...new Set(arms)],
    scale: 'linear',
    unit: claim.kind === 'trend' ? slope : `change of slope, ${slope}`,
    effect: effectOf(values, runs.intervalsFor(arms)),
  }
}

/** Slope between the last two points minus the slope between the first two; null for fewer than three points. */
export function bend(x: readonly number[], y: readonly number[]): number | null {
  if (x.length < 3) return null
  const slopeAt = (i: number) => ((y[i + 1] ?? 0) - (y[i] ?? 0)) / ((x[i + 1] ?? 0) - (x[i] ?? 0))
  const change = slopeAt(x.length - 2) - slopeAt(0)
  return Number.isFinite(change) ? change : null
}

/** Fisher's z of the correlation, which is about normal. */
function measureCorrelation(runs: Runs, question: Question): Measured {
  const points = imbalancePoints(runs, question.contrasts).filter(({ evidence }) => evidence)
  const found = pearson(
    points.map(({ x }) => x),
    points.map(({ y }) => y),
  )
  // A correlation of exactly 1 has an infinite z.
  const r = Math.min(1 - 1e-12, Math.max(-1 + 1e-12, found?.r ?? 0))
  return {
    label: `${points.length} arms`,
    arms: points.map(({ arm }) => arm),
    scale: 'fisher',
    unit: 'r of c_v and loss',
    effect:
      found === null || found.n < 4
        ? null
        : { n: found.n, mean: Math.atanh(r), error: 1 / Math.sqrt(found.n - 3), freedom: NORMAL_FREEDOM },
  }
}
