/** Formatting of answers and effects for tables, sentences and drawn intervals, each effect on its own scale. */

import { dash, fixed, signed } from '../../../../core/text/numbers.ts'
import type { Cell, Exact, IntervalCell, TextCell, Tone } from '../../../report/blocks.ts'
import { withoutOutliers } from '../../../report/outliers.ts'
import { type Claim, sideOf } from '../../claim.ts'
import { detectable } from '../../power.ts'
import { anytimeMark, digitsOf, exactOf, formatRange, ratioDigits, withoutInterval } from '../numbers.ts'
import { signOf } from '../outcome.ts'
import type { ClaimAnswer, Decision } from './answers.ts'
import { type Answer, intervalOf } from './decision.ts'
import type { Measured } from './effects.ts'

/** An answer has no colour: colours mean better and worse, and a claim that holds may be that an arm is worse. */
export const toneOf = (answer: Answer): Tone => (answer === 'undecided' ? 'open' : 'strong')

/** The answer before Holm's correction, with ° if it does not survive it. */
export const answerText = (
  { answer, uncorrected }: Pick<Decision, 'answer' | 'uncorrected'>,
  word: string = uncorrected,
): string => (answer === uncorrected ? word : `${word} °`)

/** The deciding contrast of a claim in words; of a claim about several contrasts, with their number. */
export const decidingLabel = ({ deciding, decisions }: Pick<ClaimAnswer, 'deciding' | 'decisions'>): string =>
  `${deciding?.label ?? ''}${decisions.length > 1 ? `, the deciding one of ${decisions.length}` : ''}`

type AnsweredClaim = Pick<ClaimAnswer, 'claim' | 'uncorrected' | 'decisions'>

/**
 * A remark on a claim of no difference that holds although intervals exclude zero: the effect is small, but it is there.
 * Null for other claims.
 */
export function detectableRemark({ claim, uncorrected, decisions }: AnsweredClaim): string | null {
  const found = decisions.filter((one) => isDetectable(claim, one)).length
  if (uncorrected !== 'holds' || found === 0) return null
  return `${decisions.length === 1 ? 'detectable' : `detectable in ${found} of ${decisions.length}`}, within the margin`
}

/** Whether a contrast is claimed not to differ, and holds although its interval excludes zero. */
function isDetectable(claim: Claim, { uncorrected, effect }: Decision): boolean {
  const sign = signOf({ interval: effect && intervalOf(effect) })
  return sideOf(claim.expect) === 0 && uncorrected === 'holds' && sign !== 0
}

/** The answer of one contrast of a claim. */
export const contrastAnswer = (claim: Claim, one: Decision): TextCell => ({
  text: answerText(one),
  tone: toneOf(one.uncorrected),
  ...(isDetectable(claim, one) && { note: 'detectable, within the margin' }),
})

export interface FormattedEffect {
  readonly value: string
  readonly interval: string
  /** Both with all their digits, on the scale that is shown; absent without an effect. */
  readonly exact?: Exact
}

/** @param digits Decimals of the column; default: as many as the effect needs. */
export function formatEffect({ effect, scale }: Measured, digits?: number): FormattedEffect {
  if (effect === null) return { value: dash, interval: dash }
  const { mean } = effect
  const [interval, mark] = [intervalOf(effect), anytimeMark(effect)]
  if (scale === 'log') {
    const ends = interval && ([Math.exp(interval[0]), Math.exp(interval[1])] as const)
    const own = digits ?? ratioDigits({ interval: ends })
    return {
      value: `×${fixed(Math.exp(mean), own)}`,
      interval: ends ? `${mark}${formatRange(ends, own)}` : withoutInterval(effect),
      exact: exactOf({ mean: Math.exp(mean), interval: ends }),
    }
  }
  if (scale === 'fisher') {
    const ends = interval && ([Math.tanh(interval[0]), Math.tanh(interval[1])] as const)
    return {
      value: fixed(Math.tanh(mean), 2),
      interval: ends ? formatRange(ends, 2) : dash,
      exact: exactOf({ mean: Math.tanh(mean), interval: ends }),
    }
  }
  const own = digits ?? digitsOf({ interval })
  return {
    value: signed(mean, own),
    interval: interval ? `${mark}${formatRange(interval, own)}` : withoutInterval(effect),
    exact: exactOf({ mean, interval }),
  }
}

/** A cell with an effect and its interval below. */
export function effectCell(measured: Measured): TextCell {
  const { value, interval, exact } = formatEffect(measured)
  return { text: value, note: interval, ...(exact && { exact }) }
}

/**
 * The smallest true effect that four of five such studies find, on the scale of the effect; a dash without an interval.
 * The error is that of the effect: of differences over seeds, of slopes over seeds, of logarithms of ratios, or of
 * Fisher's z, which depends on the number of arms only.
 */
export function formatVisible({ effect, scale }: Measured, digits?: number): string {
  const interval = effect && intervalOf(effect)
  if (effect === null || effect.error === null || interval === null) return dash
  const least = detectable(effect.error, effect.freedom, effect.intervals)
  if (scale === 'log') {
    const ends = [Math.exp(interval[0]), Math.exp(interval[1])] as const
    return `×${fixed(Math.exp(least), digits ?? ratioDigits({ interval: ends }))}`
  }
  return scale === 'fisher' ? fixed(Math.tanh(least), 2) : fixed(least, digits ?? digitsOf({ interval }))
}

/** An effect within a sentence: `−0.021 nats a token (95 % interval −0.032 to −0.010, 5 seeds)`. */
export function sentenceOf(measured: Measured): string {
  const { effect, unit, scale } = measured
  if (effect === null) return 'not enough runs yet'
  const { value, interval } = formatEffect(measured)
  const number = `${scale === 'log' ? value.slice(1) : value} ${unit}`
  const counted = scale === 'fisher' ? 'arms' : effect.n === 1 ? 'seed' : 'seeds'
  const mark = anytimeMark(effect)
  const range = `${mark}95 % interval ${interval.slice(mark.length)}`
  return `${number} (${intervalOf(effect) === null ? 'no interval' : range}, ${effect.n} ${counted})`
}

/**
 * A difference between two arms in plain words: `“hash” has a held-out loss 0.026 nats a token lower (better) than “top-1”
 * (95 % interval 0.019 to 0.033, 4 seeds)`. Other effects are named by their contrast.
 */
export function plainSentence(measured: Measured): string {
  const { arms, effect, unit, label } = measured
  const [baseline, arm] = arms
  const interval = effect && intervalOf(effect)
  if (effect === null || unit !== 'nats a token' || arms.length !== 2) return `${label}: ${sentenceOf(measured)}`
  const [size, side] = [Math.abs(effect.mean), effect.mean < 0 ? 'lower (better)' : 'higher (worse)']
  const digits = digitsOf({ interval })
  const ends = interval && (effect.mean < 0 ? ([-interval[1], -interval[0]] as const) : interval)
  const mark = anytimeMark(effect)
  const range = ends ? `${mark}95 % interval ${formatRange(ends, digits)}` : 'no interval'
  const seeds = effect.n === 1 ? 'seed' : 'seeds'
  return `“${arm}” has a held-out loss ${fixed(size, digits)} nats a token ${side} than “${baseline}” (${range}, ${effect.n} ${seeds})`
}

/** An interval on the axis of its unit; a dash without an interval. @param reach Half the length of the axis. */
export function intervalCell({ effect, scale }: Measured, reach: number): Cell {
  const interval = effect && intervalOf(effect)
  if (effect === null || interval === null || !(reach > 0)) return dash
  const sign = signOf({ interval })
  // A correlation has no better side.
  const tone = sign === 0 ? 'open' : scale === 'fisher' ? 'strong' : sign < 0 ? 'better' : 'worse'
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
 * Half the length of the axis by unit. Numbers of one unit share an axis, which is capped so that neither a few large
 * effects nor one huge interval shrink the others to dots.
 */
export function reachByUnit(all: readonly Measured[]): ReadonlyMap<string, number> {
  const reaches = new Map<string, number>()
  for (const unit of new Set(all.map((one) => one.unit))) {
    const effects = all.flatMap((one) => (one.unit === unit && one.effect ? [one.effect] : []))
    const sizes = effects.map(({ mean }) => Math.abs(mean))
    const largest = withoutOutliers(sizes) ?? Math.max(0, ...sizes)
    const inside = effects.filter(({ mean }) => Math.abs(mean) <= largest)
    const ends = inside.flatMap((effect) => intervalOf(effect) ?? []).map(Math.abs)
    const widest = Math.max(0, ...ends)
    reaches.set(unit, 1.1 * (largest === 0 ? widest : Math.max(largest, Math.min(widest, 2.5 * largest))))
  }
  return reaches
}
