/** Formatting of answers and effects for tables, sentences and drawn intervals, each effect on its own scale. */

import { dash, fixed, signed } from '../../../../core/text/numbers.ts'
import type { Cell, IntervalCell, Tone } from '../../../report/blocks.ts'
import { digitsOf, formatRange, ratioDigits } from '../numbers.ts'
import type { Decision } from './answers.ts'
import { type Answer, intervalOf } from './decision.ts'
import type { Measured } from './effects.ts'

export const toneOf = (answer: Answer): Tone =>
  answer === 'holds' ? 'for' : answer === 'does not hold' ? 'against' : 'open'

/** The answer before Holm's correction, with ° if it does not survive it. */
export const answerText = (
  { answer, uncorrected }: Pick<Decision, 'answer' | 'uncorrected'>,
  word: string = uncorrected,
): string => (answer === uncorrected ? word : `${word} °`)

export interface FormattedEffect {
  readonly value: string
  readonly interval: string
  /** The smallest effect that could have been seen: half the width of the interval. */
  readonly visible: string
}

/** @param digits Decimals of the column; default: as many as the effect needs. */
export function formatEffect({ effect, scale }: Measured, digits?: number): FormattedEffect {
  if (effect === null) return { value: dash, interval: dash, visible: dash }
  const { n, mean } = effect
  const interval = intervalOf(effect)
  const half = interval && (interval[1] - interval[0]) / 2
  if (scale === 'log') {
    const ends = interval && ([Math.exp(interval[0]), Math.exp(interval[1])] as const)
    const own = digits ?? ratioDigits({ interval: ends })
    return {
      value: `×${fixed(Math.exp(mean), own)}`,
      interval: ends ? formatRange(ends, own) : dash,
      visible: half === null ? dash : `×${fixed(Math.exp(half), own)}`,
    }
  }
  if (scale === 'fisher')
    return {
      value: fixed(Math.tanh(mean), 2),
      interval: interval ? formatRange([Math.tanh(interval[0]), Math.tanh(interval[1])], 2) : dash,
      visible: half === null ? dash : fixed(Math.tanh(half), 2),
    }
  const own = digits ?? digitsOf({ interval })
  return {
    value: signed(mean, own),
    interval: interval ? formatRange(interval, own) : n === 1 ? 'one seed' : dash,
    visible: half === null ? dash : fixed(half, own),
  }
}

/** An effect within a sentence: `−0.021 nats a token (95 % interval −0.032 to −0.010, 5 seeds)`. */
export function sentenceOf(measured: Measured): string {
  const { effect, unit, scale } = measured
  if (effect === null) return 'not enough runs yet'
  const { value, interval } = formatEffect(measured)
  const number = `${scale === 'log' ? value.slice(1) : value} ${unit}`
  const counted = scale === 'fisher' ? 'arms' : effect.n === 1 ? 'seed' : 'seeds'
  return `${number} (${effect.error === null ? 'no interval' : `95 % interval ${interval}`}, ${effect.n} ${counted})`
}

/** An interval on the axis of its unit; a dash without an interval. @param reach Half the length of the axis. */
export function intervalCell({ effect }: Measured, reach: number, tone: Tone): Cell {
  const interval = effect && intervalOf(effect)
  if (effect === null || interval === null || !(reach > 0)) return dash
  const cell: IntervalCell = { mean: effect.mean, low: interval[0], high: interval[1], reach, tone }
  return cell
}

/** Number of decimals by unit: numbers of one unit have equally many. */
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

/**
 * Half the length of the axis by unit. Numbers of one unit share an axis, which is capped so that one huge interval
 * does not shrink the others to dots.
 */
export function reachByUnit(all: readonly Measured[]): ReadonlyMap<string, number> {
  const reaches = new Map<string, number>()
  for (const unit of new Set(all.map((one) => one.unit))) {
    const effects = all.flatMap((one) => (one.unit === unit && one.effect ? [one.effect] : []))
    const ends = effects.flatMap((effect) => intervalOf(effect) ?? []).map(Math.abs)
    const largest = Math.max(0, ...effects.map(({ mean }) => Math.abs(mean)))
    const widest = Math.max(0, ...ends)
    reaches.set(unit, 1.1 * (largest === 0 ? widest : Math.max(largest, Math.min(widest, 2.5 * largest))))
  }
  return reaches
}
