/** Numbers of claims as a report prints and draws them, each on its own scale. */
import type { Cell, IntervalCell, Tone } from '../../../report/blocks.ts'
import { dash, fixed, signed } from '../../../text/numbers.ts'
import { digitsOf, range, ratioDigits } from '../numbers.ts'
import type { Decided } from './answers.ts'
import { type Answer, intervalOf } from './decision.ts'
import type { Measured } from './effects.ts'

export const toneOf = (answer: Answer): Tone =>
  answer === 'holds' ? 'for' : answer === 'does not hold' ? 'against' : 'open'

/** By the interval; ° where Holm's correction takes the answer back. */
export const wordsFor = ({ answer, alone }: Pick<Decided, 'answer' | 'alone'>, word: string = alone): string =>
  answer === alone ? word : `${word} °`

export interface Written {
  readonly value: string
  readonly interval: string
  /** The smallest effect that could have been seen: half the width of the interval. */
  readonly visible: string
}

/** @param digits of a column; default: its own */
export function writtenOf({ effect, scale }: Measured, digits?: number): Written {
  if (effect === null) return { value: dash, interval: dash, visible: dash }
  const { n, mean } = effect
  const interval = intervalOf(effect)
  const half = interval && (interval[1] - interval[0]) / 2
  if (scale === 'log') {
    const ends = interval && ([Math.exp(interval[0]), Math.exp(interval[1])] as const)
    const own = digits ?? ratioDigits({ interval: ends })
    return {
      value: `×${fixed(Math.exp(mean), own)}`,
      interval: ends ? range(ends, own) : dash,
      visible: half === null ? dash : `×${fixed(Math.exp(half), own)}`,
    }
  }
  if (scale === 'fisher')
    return {
      value: fixed(Math.tanh(mean), 2),
      interval: interval ? range([Math.tanh(interval[0]), Math.tanh(interval[1])], 2) : dash,
      visible: half === null ? dash : fixed(Math.tanh(half), 2),
    }
  const own = digits ?? digitsOf({ interval })
  return {
    value: signed(mean, own),
    interval: interval ? range(interval, own) : n === 1 ? 'one seed' : dash,
    visible: half === null ? dash : fixed(half, own),
  }
}

/** −0.021 nats a token (95 % interval −0.032 to −0.010, 5 seeds), for a sentence. */
export function sentenceOf(measured: Measured): string {
  const { effect, unit, scale } = measured
  if (effect === null) return 'not enough runs yet'
  const { value, interval } = writtenOf(measured)
  const what = scale === 'log' ? `${value.slice(1)} ${unit}` : `${value} ${unit}`
  const of = scale === 'fisher' ? 'arms' : effect.n === 1 ? 'seed' : 'seeds'
  return `${what} (${effect.error === null ? 'no interval' : `95 % interval ${interval}`}, ${effect.n} ${of})`
}

/** Drawn on the axis of all numbers of one unit; a dash without an interval. */
export function drawn({ effect }: Measured, reach: number, tone: Tone): Cell {
  const interval = effect && intervalOf(effect)
  if (effect === null || interval === null || !(reach > 0)) return dash
  const cell: IntervalCell = { mean: effect.mean, low: interval[0], high: interval[1], reach, tone }
  return cell
}

/** Numbers of one unit have as many digits. */
export function digitsByUnit(all: readonly Measured[]): ReadonlyMap<string, number> {
  const digits = new Map<string, number>()
  for (const { unit, scale, effect } of all) {
    const interval = effect && intervalOf(effect)
    if (interval === null) continue
    const own =
      scale === 'log'
        ? ratioDigits({ interval: [Math.exp(interval[0]), Math.exp(interval[1])] })
        : digitsOf({ interval })
    digits.set(unit, Math.max(digits.get(unit) ?? 0, own))
  }
  return digits
}

/** Numbers of one unit share an axis; one interval without end does not make dots of the others. */
export function reachesOf(all: readonly Measured[]): ReadonlyMap<string, number> {
  const reaches = new Map<string, number>()
  for (const unit of new Set(all.map((one) => one.unit))) {
    const effects = all.flatMap((one) => (one.unit === unit && one.effect ? [one.effect] : []))
    const ends = effects.flatMap((effect) => intervalOf(effect) ?? []).map(Math.abs)
    const most = Math.max(0, ...effects.map(({ mean }) => Math.abs(mean)))
    const widest = Math.max(0, ...ends)
    reaches.set(unit, 1.1 * (most === 0 ? widest : Math.max(most, Math.min(widest, 2.5 * most))))
  }
  return reaches
}
