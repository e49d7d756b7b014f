/** Ticks of an axis: few, round and evenly spaced. */

import { range, ticks } from 'd3-array'
import { compact, duration, grouped } from '../../../../src/core/text/numbers.ts'
import type { XAxis } from '../../../../src/faces/watch/api.ts'

/** Whether a range is infinite, or too small relative to its ends for distinct ticks. */
const isDegenerate = (min: number, max: number) =>
  !(max - min > 1e-9 * Math.max(Math.abs(min), Math.abs(max))) || !Number.isFinite(max - min)

/** About `count` multiples of 1, 2 or 5 times a power of ten; none if the range is too small for distinct ones. */
export const linearTicks = (min: number, max: number, count: number): readonly number[] =>
  isDegenerate(min, max) ? [] : ticks(min, max, Math.max(1, count))

/** Powers of ten, or 1, 2 and 5 times them; linear ticks if the range is too small for that. */
export function logTicks(min: number, max: number, count: number): readonly number[] {
  if (!(min > 0) || !(max > min) || !Number.isFinite(max)) return []
  const decades = Math.log10(max / min)
  const every = Math.max(1, Math.ceil(decades / Math.max(1, count)))
  const times = decades < count / 3 ? [1, 2, 5] : [1]
  const found: number[] = []
  for (let exponent = Math.floor(Math.log10(min)); exponent <= Math.log10(max); exponent++) {
    if (exponent % every !== 0) continue
    for (const factor of times) found.push(Number(`${factor}e${exponent}`))
  }
  const inside = found.filter((tick) => tick >= min && tick <= max)
  return inside.length >= 3 ? inside : linearTicks(min, max, count)
}

const MINUTE = 60
const hour = 60 * MINUTE
const day = 24 * hour
const timeSteps = [1, 2, 5, 10, 15, 30].concat(
  [1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  [1, 2, 3, 6, 12].map((hours) => hours * hour),
)

/** Round numbers of seconds, minutes, hours or days. */
export function timeTicks(min: number, max: number, count: number): readonly number[] {
  const rough = (max - min) / Math.max(1, count)
  if (isDegenerate(min, max)) return []
  if (rough <= 1) return linearTicks(min, max, count)
  const step = timeSteps.find((each) => each >= rough)
  return step === undefined
    ? linearTicks(min / day, max / day, count).map((days) => days * day)
    : range(step * Math.ceil(min / step - 1e-9), max + step * 1e-9, step)
}

export const xTicks = (axis: XAxis, min: number, max: number, count: number): readonly number[] =>
  axis === 'time' ? timeTicks(min, max, count) : linearTicks(min, max, count)

export const xText = (axis: XAxis, value: number): string => (axis === 'time' ? duration(value) : compact(value))

/** A place on the axis, with every digit of a step or of a number of tokens. */
export const exactXText = (axis: XAxis, value: number): string =>
  axis === 'step' || axis === 'tokens' ? grouped(Math.round(value)) : xText(axis, value)

export const axisTitles: Readonly<Record<XAxis, string>> = {
  step: 'Step',
  tokens: 'Tokens',
  time: 'Time',
  flops: 'FLOPs',
}
