/** Widths of the intervals of predictions, and the chance that a value stays below a limit. */
import normalCdf from '@stdlib/stats-base-dists-normal-cdf'
import { normalQuantile } from '../../../core/random.ts'
import { percent } from '../../../core/text/numbers.ts'
import type { ConstantSource, Program } from './constants.ts'

/** Factors q: the published value is between predicted / q and predicted · q with a chance of 80 %. */
export interface IntervalFactors {
  readonly stepTime: number
  /** Factor of step times on devices of a family without a fitted row; borrowed efficiencies are no better. */
  readonly stepTimeUnfitted: number
  readonly memory: number
}

/** The factors of each class of programs. */
export type IntervalsByProgram = Readonly<Record<Program, IntervalFactors>>

/** Factors of the 80 % intervals of a prediction. */
export interface Interval {
  readonly time: number
  readonly memory: number
}

/** Whether the efficiencies are those of trainings on the device, and not of an average or a similar one. */
const isFitted = (constants: ConstantSource): boolean => constants === 'fitted' || constants === 'given'

/** The interval of predictions on a device; null if its constants were measured on the machine itself. */
export function intervalOn(
  { constants }: { readonly constants: ConstantSource },
  factors: IntervalFactors,
): Interval | null {
  if (constants === 'measured') return null
  const time = isFitted(constants) ? factors.stepTime : factors.stepTimeUnfitted
  return { time, memory: factors.memory }
}

/** Both ends of an interval. */
export const rangeOf = (value: number, factor: number): readonly [low: number, high: number] => [
  value / factor,
  value * factor,
]

/** Standard deviations of a normal distribution between its middle and the end of its 80 % interval. */
const REACH = 1.2815515655446004

/**
 * Probability that the true value is at most `limit`, if its logarithm is normally distributed around the prediction's
 * with an 80 % interval of `factor` in both directions.
 */
export const chanceBelow = (limit: number, predicted: number, factor: number): number =>
  normalCdf((REACH * Math.log(limit / predicted)) / Math.log(factor), 0, 1)

/** The factor of a prediction below which the true value is with a probability: the inverse of {@link chanceBelow}. */
export const marginOf = (probability: number, factor: number): number =>
  probability === 0.5 ? 1 : factor ** (normalQuantile(probability) / REACH)

/** The chance that a layout fits, in words and percent: `probably, 78 %`. */
export function fitWords(probability: number): string {
  const answer =
    probability >= 0.95 ? 'yes' : probability >= 0.5 ? 'probably' : probability > 0.05 ? 'probably not' : 'no'
  const shown = probability > 0.995 ? 'over 99 %' : probability < 0.005 ? 'under 1 %' : percent(probability, 0)
  return `${answer}, ${shown}`
}

/** ` with a probability of 90 %`, or an empty text for an even chance, which is the default. */
export const demandWords = (fitsWith: number): string =>
  fitsWith === 0.5 ? '' : ` with a probability of ${Number((100 * fitsWith).toPrecision(4))} %`
