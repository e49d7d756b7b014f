/** Widths of the intervals of predictions. */
import type { ConstantSource } from './constants.ts'

/** Factors q: the published value is between predicted / q and predicted · q with a chance of 80 %. */
export interface IntervalFactors {
  readonly stepTime: number
  /** Factor of step times on devices of a family without a fitted row; borrowed efficiencies are no better. */
  readonly stepTimeUnfitted: number
  readonly memory: number
}

/** Factors of the 80 % intervals of a prediction. */
export interface Interval {
  readonly time: number
  readonly memory: number
}

/** Whether the efficiencies belong to the device, and not to an average or a similar one. */
const isFitted = (constants: ConstantSource): boolean => constants !== 'unfitted' && constants !== 'borrowed'

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
