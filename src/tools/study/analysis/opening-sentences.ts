/**
 * The sentences below the table that opens a report, at most five: the largest effect, refuted claims, the basis of the
 * answers, and cautions. They do not repeat the headline.
 */
import { joinWords, plural } from '../../../core/text/numbers.ts'
import { answersOf, type ClaimAnswer } from './claims/answers.ts'
import { contrastText, type Measured } from './claims/effects.ts'
import { plainSentence } from './claims/text.ts'
import type { Comparison } from './comparison.ts'
import { effectOf } from './ratios.ts'
import type { Runs } from './runs.ts'
import type { QuestionSection } from './section.ts'
import { bestOfSweep } from './sections/best-arm.ts'

/** Whether a contrast differs from zero after Holm's correction. */
export const isClear = ({ outcome }: Comparison): boolean => outcome === 'better' || outcome === 'worse'

/** Whether it differs, and both arms are causal. */
export const isFirm = (runs: Runs, one: Comparison): boolean =>
  isClear(one) && runs.leakOf(one.arm) === null && runs.leakOf(one.baseline) === null

export const byLargest = (a: Comparison, b: Comparison): number =>
  Math.abs(b.estimate?.mean ?? 0) - Math.abs(a.estimate?.mean ?? 0)

export const asMeasured = (runs: Runs, comparison: Comparison): Measured => ({
  label: contrastText(runs, comparison),
  arms: [comparison.baseline, comparison.arm],
  scale: 'linear',
  unit: 'nats a token',
  effect: effectOf(comparison.differences, comparison.intervals),
})

/** The sentences of the summary, at most five. */
export function sentencesOf(
  runs: Runs,
  answers: readonly ClaimAnswer[],
  turns: readonly Sensitivity[],
  looked: readonly QuestionSection[],
  headline: string | undefined,
): string[] {
  const comparisons = looked.flatMap((one) => one.comparisons)
  return [
    ...largestEffect(runs, comparisons, headline),
    ...refutedClaims(answers),
    basisSentence(runs),
    ...sensitivityCautions(runs, answers, turns, comparisons),
    ...leakCautions(runs, comparisons),
  ]
}

/** The largest effect of all contrasts between causal arms; empty if the headline has it, or after a sweep. */
function largestEffect(runs: Runs, comparisons: readonly Comparison[], headline: string | undefined): string[] {
  const [first] = comparisons.filter((one) => isFirm(runs, one)).toSorted(byLargest)
  if (comparisons.length === 0) return []
  // Only a contrast with an arm that sees later tokens may differ, and the cautions speak of it.
  if (first === undefined)
    return comparisons.some(isClear) ? [] : ['No contrast of the study differs from zero after Holm’s correction.']
  const sentence = plainSentence(asMeasured(runs, first))
  const isSweep = runs.results.questions.some((question) => bestOfSweep(runs, question))
  return isSweep || headline?.includes(sentence) ? [] : [`The largest effect: ${sentence}.`]
}

function refutedClaims(answers: readonly ClaimAnswer[]): string[] {
  const against = answers.filter(
    ({ answer, seesFuture, claim }) => answer === 'does not hold' && !seesFuture && claim.source,
  )
  if (against.length === 0) return []
  const names = against.slice(0, 3).map(({ claim, question }) => `“${claim.name ?? question.title}”`)
  const more = against.length > 3 ? [...names, `${against.length - 3} more`] : names
  const tried = against.reduce((sum, { controls }) => sum + controls.length, 0)
  const other = against.flatMap(({ controls }) => controls).filter(({ answer }) => answer === 'holds').length
  const refuted =
    tried === 0
      ? '; no experiment has tried to refute this yet.'
      : `; ${plural(tried, 'experiment')} tried to refute this, ${other === 0 ? 'none' : other} did.`
  return [`Against the literature, these do not hold: ${joinWords(more)}${refuted}`]
}

const ruleNames = {
  train: 'at the capacity of training, so an arm is judged at its training cost',
  eval: 'at the capacity of evaluation (evalFactor)',
  none: 'without a capacity limit',
} as const

function basisSentence(runs: Runs): string {
  const { rate, capacity } = runs.basis
  const rates = `each arm has its ${rate === 'best' ? 'own best' : 'configured'} learning rate`
  const unlimited = Object.keys(runs.results.arms).filter((arm) => runs.isUnlimited(arm))
  const dropless =
    unlimited.length === 0
      ? ''
      : `; comparisons with ${joinWords(unlimited)} (¶), which ${unlimited.length === 1 ? 'balances' : 'balance'} loads in training only, are made without a capacity limit`
  const whole = runs.shares.length > 1 ? ' of whole runs' : ''
  return `Answers use the held-out loss${whole} (cross-entropy on text that is not trained on) ${ruleNames[capacity]}${dropless}; ${rates}.`
}

export interface Sensitivity {
  /** Whether another evaluation capacity gives the opposite answer. */
  readonly capacity: boolean
  /** Whether the other learning rate gives another answer. */
  readonly rate: boolean
}

export function sensitivityOf(runs: Runs, answers: readonly ClaimAnswer[]): Sensitivity[] {
  const rules = (['train', 'eval', 'none'] as const).map((capacity) => answersOf(runs.withBasis({ capacity })))
  const other =
    runs.results.tuning.length === 0
      ? answers
      : answersOf(runs.withBasis({ rate: runs.basis.rate === 'best' ? 'common' : 'best' }))
  return answers.map(({ answer }, i) => {
    const found = rules.map((all) => all[i]?.answer)
    return {
      capacity: found.includes('holds') && found.includes('does not hold'),
      rate: other[i]?.answer !== answer,
    }
  })
}

/** A caution about answers and orders that another evaluation capacity, learning rate or text would change. */
function sensitivityCautions(
  runs: Runs,
  answers: readonly ClaimAnswer[],
  turns: readonly Sensitivity[],
  comparisons: readonly Comparison[],
): string[] {
  const firstThree = (names: readonly string[]) =>
    joinWords(names.length > 3 ? [...names.slice(0, 3), `${names.length - 3} more`] : names)
  const nameOf = ({ claim, question }: ClaimAnswer) => `“${claim.name ?? question.title}”`
  const named = (of: keyof Sensitivity) => answers.filter((_, i) => turns[i]?.[of]).map(nameOf)
  const orders = comparisons.filter(({ dependsOnCapacity }) => dependsOnCapacity)
  const order = [...new Set(orders.map((one) => contrastText(runs, one)))]
  const [byCapacity, byRate] = [named('capacity'), named('rate')]
  const byText = answers.filter(({ dependsOnText }) => dependsOnText).map(nameOf)
  const parts = [
    ...(byCapacity.length > 0
      ? [`another evaluation capacity gives the opposite answer to ${firstThree(byCapacity)} (‡)`]
      : []),
    ...(order.length > 0 ? [`which is better in ${firstThree(order)} depends on the evaluation capacity (‡)`] : []),
    ...(byRate.length > 0 ? [`the common learning rate gives another answer to ${firstThree(byRate)} (§)`] : []),
    ...(byText.length > 0 ? [`other documents may give another answer to ${firstThree(byText)} (‖)`] : []),
  ]
  return parts.length === 0 ? [] : [`Take care: ${parts.join('; ')}.`]
}

function leakCautions(runs: Runs, comparisons: readonly Comparison[]): string[] {
  const arms = [...new Set(comparisons.flatMap(({ arm, baseline }) => [arm, baseline]))]
  const marked = arms.filter((arm) => runs.leakOf(arm) !== null)
  return marked.length === 0
    ? []
    : [
        `${plural(marked.length, 'arm')} (†) ${marked.length === 1 ? 'sees' : 'see'} later tokens, which a causal model cannot; the captions of the tables state by how many nats the loss is too low.`,
      ]
}
