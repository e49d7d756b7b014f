/** Ticks and texts of the axes of curves: the shared ticks, round times, and exact places on an axis. */

import { range } from 'd3-array'
import { distinct, linearTicks, logTicks, type Tick } from '../../../../src/core/charts/ticks.ts'
import { valueLabel } from '../../../../src/core/text/number-labels.ts'
import { duration, grouped } from '../../../../src/core/text/numbers.ts'
import type { XAxis } from '../../../../src/faces/watch/api.ts'

const MINUTE = 60
const hour = 60 * MINUTE
const day = 24 * hour
const timeSteps = [1, 2, 5, 10, 15, 30].concat(
  [1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  [1, 2, 3, 6, 12].map((hours) => hours * hour),
)

/** Round numbers of seconds, minutes, hours or days. */
export function timeTicks(min: number, max: number, count: number): readonly Tick[] {
  return timesBetween(min, max, count).map((value) => ({ value, label: duration(value) }))
}

function timesBetween(min: number, max: number, count: number): readonly number[] {
  const rough = (max - min) / Math.max(1, count)
  if (!distinct(min, max)) return []
  if (rough <= 1) return linearTicks(min, max, count).map(({ value }) => value)
  const step = timeSteps.find((each) => each >= rough)
  return step === undefined
    ? linearTicks(min / day, max / day, count).map(({ value }) => value * day)
    : range(step * Math.ceil(min / step - 1e-9), max + step * 1e-9, step)
}

/** Ticks of the horizontal axis. Steps and tokens are whole numbers, and so are their ticks. */
export function xTicks(axis: XAxis, min: number, max: number, count: number): readonly Tick[] {
  if (axis === 'time') return timeTicks(min, max, count)
  return linearTicks(min, max, max - min >= 1 ? Math.min(count, Math.floor(max - min)) : count)
}

/** Ticks of the vertical axis. Minor ticks are left out: grid lines are only where there are labels. */
export const yTicks = (log: boolean, min: number, max: number, count: number): readonly Tick[] =>
  (log ? logTicks : linearTicks)(min, max, count).filter(({ label }) => label !== '')

/** A place on the axis, with every digit of a step or of a number of tokens. */
export function exactXText(axis: XAxis, value: number): string {
  if (axis === 'time') return duration(value)
  return axis === 'flops' ? valueLabel(value) : grouped(Math.round(value))
}

export const axisTitles: Readonly<Record<XAxis, string>> = {
  step: 'Step',
  tokens: 'Tokens',
  time: 'Time',
  flops: 'FLOPs',
}
