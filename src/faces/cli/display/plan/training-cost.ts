/** The cost of a whole training as text: time, device-hours, price, failures and energy. */
import { bytes, count, duration, grouped, percent, shortTime, significant } from '../../../../core/text/numbers.ts'
import { LIKELY_FAILURES, NO_PROGRESS, publishedDeviceHours } from '../../../../tools/plan/cost/failures.ts'
import { rangeOf } from '../../../../tools/plan/inputs/intervals.ts'
import type { Budget, Plan } from '../../../../tools/plan/plan.ts'
import type { Colors } from '../../io.ts'

export const amount = (value: number): string => (value < 10 ? value.toPrecision(2) : grouped(Math.round(value)))

/** The cost of the whole training. */
export function costLines({ budget }: Plan, colors: Colors): string[] {
  if (!budget) return []
  const price = budget.price === undefined ? '' : `, ${amount(budget.price)} at the given price`
  return [
    `  ${colors.bold('the whole training')}  ${count(budget.tokens)} tokens: ${duration(budget.seconds)}, ${amount(budget.deviceHours)} device-hours${price}`,
    ...(budget.factor === null ? [] : [`  80 % interval: ${budgetRange(budget, budget.factor)}`]),
    ...failureLines(budget).map((line) => `  ${line}`),
    ...(budget.kilowattHours === undefined || (budget.failures?.goodput ?? 1) < NO_PROGRESS
      ? []
      : [
          `  energy: at most ${energy(budget.kilowattHours)}, by the slow end of the interval and the largest power of devices and servers`,
        ]),
    '',
  ]
}

/** Ranges of the cost: `5 days to 8 days, 2,400 to 3,800 device-hours, a price of 2,400 to 3,800`. */
function budgetRange({ seconds, deviceHours, price }: Budget, factor: number): string {
  const range = (value: number, shown: (value: number) => string) => rangeOf(value, factor).map(shown).join(' to ')
  const priced = price === undefined ? '' : `, a price of ${range(price, amount)}`
  return `${range(seconds, duration)}, ${range(deviceHours, amount)} device-hours${priced}`
}

/** The time with failures and checkpoints; no lines if a failure is unlikely. */
function failureLines({ seconds, deviceHours: hours, price, factor, failures }: Budget): string[] {
  if (!failures || seconds / failures.everySeconds < LIKELY_FAILURES) return []
  const { deviceHours, everySeconds, checkpointBytes, checkpointSeconds, checkpointEvery } = failures
  const { restartSeconds, goodput, range } = failures
  if (goodput < NO_PROGRESS)
    return [
      `with failures: it hardly makes progress, with a failure every ${shortTime(everySeconds)} and a restart of ${duration(restartSeconds)}`,
    ]
  const time = seconds / goodput
  const interval = factor === null ? '' : ` (${rangeOf(time, factor).map(duration).join(' to ')})`
  const source = range
    ? `assumed ${amount(deviceHours)} device-hours, of the ${publishedRange} in published trainings (goodput ${between(range)})`
    : `${amount(deviceHours)} device-hours`
  return [
    `with failures: ${duration(time)}${interval}, ${amount(hours / goodput)} device-hours${price === undefined ? '' : `, a price of ${amount(price / goodput)}`}; goodput ${percent(goodput)}`,
    `  a failure every ${duration(everySeconds)}: ${source}`,
    `  a checkpoint of ${bytes(checkpointBytes)} every ${duration(checkpointEvery)}, written in ${duration(checkpointSeconds)}; a restart takes ${duration(restartSeconds)}`,
  ]
}

const publishedRange = `${amount(publishedDeviceHours.few)} to ${amount(publishedDeviceHours.many)}`

const between = ({ few, many }: { readonly few: number; readonly many: number }) =>
  `${percent(few)} to ${percent(many)}`

/** Energy in the unit that has at most three digits before the point. */
function energy(kilowattHours: number): string {
  const power = Math.min(2, Math.max(0, Math.floor(Math.log10(kilowattHours) / 3)))
  return `${significant(kilowattHours / 1000 ** power)} ${['kWh', 'MWh', 'GWh'][power]}`
}
