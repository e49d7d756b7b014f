/**
 * The table that opens a report: a row a claim, the strongest finding first, and below it the few sentences
 * that a reader in a hurry needs. A question without a claim has a row too, with its strongest contrast.
 */
import type { Cell, Tone } from '../../report/blocks.ts'
import type { Section } from '../../report/report.ts'
import { listed, plural } from '../../text/numbers.ts'
import { type Answered, answersOf } from './claims/answers.ts'
import { type Measured, wordsOf } from './claims/effects.ts'
import { digitsByUnit, drawn, reachesOf, sentenceOf, toneOf, wordsFor, writtenOf } from './claims/text.ts'
import type { Comparison } from './comparison.ts'
import { effectOf } from './ratios.ts'
import type { Runs } from './runs.ts'
import type { Looked } from './section.ts'
import { table } from './tables.ts'

interface Row {
  readonly question: string
  readonly answer: string
  readonly tone: Tone
  readonly measured: Measured | null
  /** |effect| over its standard error, for rows with an answer; null without. */
  readonly strength: number | null
}

export function opening(runs: Runs, answers: readonly Answered[], looked: readonly Looked[]): Section {
  const turns = turnsOf(runs, answers)
  const rows = [
    ...answers.map((answered, i) => rowOf(answered, turns[i])),
    ...withoutClaim(runs, looked, answers),
  ].toSorted((a, b) => (b.strength ?? -1) - (a.strength ?? -1))
  const tests = answers.flatMap(({ decided }) => decided).filter(({ p }) => p !== null).length
  const holm =
    tests > 1
      ? ` Answers follow from the intervals. °: not after Holm's correction for the ${tests} tests of all claims; the chance that any answer without this mark is wrong stays below 5 %.`
      : ''
  const shown = rows.flatMap(({ measured }) => measured ?? [])
  const [reaches, digits] = [reachesOf(shown), digitsByUnit(shown)]
  const lead = table(
    `The study in one table, the strongest finding first. Effect: with its 95 % interval over seeds, negative where the arm has the lower loss or is sooner. Drawn: the same, zero (or ×1) is the line; rows of one unit share a scale. Visible from: half the width of the interval; a smaller effect could not have been seen.${holm}${capacityWords(runs)}`,
    ['Question', 'Answer', 'Drawn', 'Effect', '95 % interval', 'Visible from'],
    rows.map(({ question, answer, tone, measured }): Cell[] => {
      const { value, interval, visible } = measured
        ? writtenOf(measured, digits.get(measured.unit))
        : { value: '–', interval: '–', visible: '–' }
      return [
        { text: question, ...(measured && { note: measured.label }) },
        { text: answer, tone },
        measured ? drawn(measured, reaches.get(measured.unit) ?? 0, tone) : '–',
        value,
        { text: interval, ...(measured && { note: measured.unit }) },
        visible,
      ]
    }),
    3,
  )
  return {
    id: 'summary',
    title: 'Summary',
    about: '',
    ...(lead && { lead }),
    verdicts: sentences(runs, answers, turns, looked),
    blocks: [],
  }
}

/** The names of capacity rules, where names of arms have them. */
const capacityWords = ({ results }: Runs): string =>
  Object.keys(results.arms).some((arm) => /\b[1k]x\b/.test(arm))
    ? ' In names of arms, 1x is room at the experts for one assignment a token, kx for all k of them.'
    : ''

const strengthOf = ({ effect }: Measured): number | null =>
  effect === null || effect.error === null ? null : Math.abs(effect.mean) / effect.error

function rowOf({ question, claim, answer, alone, deciding, decided, marked }: Answered, turns: Turns | undefined): Row {
  const answered = alone !== 'cannot be said here'
  const rest =
    decided.length > 1 && deciding ? { ...deciding, label: `${deciding.label}, +${decided.length - 1}` } : deciding
  return {
    question: claim.name ?? question.title,
    answer: `${wordsFor({ answer, alone })}${marked ? ' †' : ''}${turns?.capacity ? ' ‡' : ''}${turns?.rate ? ' §' : ''}`,
    tone: toneOf(alone),
    measured: rest,
    strength: answered && deciding ? strengthOf(deciding) : null,
  }
}

const found = ({ outcome }: Comparison): boolean => outcome === 'better' || outcome === 'worse'

function withoutClaim(runs: Runs, looked: readonly Looked[], answers: readonly Answered[]): Row[] {
  return looked.flatMap(({ section, comparisons }): Row[] => {
    if (answers.some(({ question }) => question.id === section.id)) return []
    const clear = comparisons.filter(found)
    const known = (clear.length > 0 ? clear : comparisons).filter(({ estimate }) => estimate).toSorted(byLargest)
    const most = known[0] ? asMeasured(runs, known[0]) : null
    const tested = comparisons.filter(({ estimate }) => estimate?.interval).length
    const [only] = comparisons
    const single = comparisons.length === 1 && only && found(only) ? only.outcome : null
    return [
      {
        question: section.title,
        answer: single ?? (tested === 0 ? 'cannot be said here' : `${clear.length} of ${tested} differ`),
        tone: single === 'worse' ? 'against' : clear.length > 0 ? 'for' : 'open',
        measured: most,
        strength: clear.length > 0 && most ? strengthOf(most) : null,
      },
    ]
  })
}

const byLargest = (a: Comparison, b: Comparison): number =>
  Math.abs(b.estimate?.mean ?? 0) - Math.abs(a.estimate?.mean ?? 0)

const asMeasured = (runs: Runs, comparison: Comparison): Measured => ({
  label: wordsOf(runs, comparison),
  arms: [comparison.baseline, comparison.arm],
  scale: 'linear',
  unit: 'nats a token',
  effect: effectOf(comparison.differences),
})

/** At most five. */
function sentences(
  runs: Runs,
  answers: readonly Answered[],
  turns: readonly Turns[],
  looked: readonly Looked[],
): string[] {
  const comparisons = looked.flatMap((one) => one.comparisons)
  return [
    ...largest(runs, comparisons),
    ...surprises(answers),
    basis(runs),
    ...turning(runs, answers, turns, comparisons),
    ...leaking(runs, comparisons),
  ]
}

/** Of all contrasts between causal arms. */
function largest(runs: Runs, comparisons: readonly Comparison[]): string[] {
  const causal = comparisons.filter(
    (one) => found(one) && runs.leakOf(one.arm) === null && runs.leakOf(one.baseline) === null,
  )
  const [most] = causal.toSorted(byLargest)
  if (most === undefined) return ['No contrast of the study is clear of zero after Holm’s correction.']
  return [
    `The largest effect: ${most.arm} is ${most.outcome} than ${most.baseline}: ${sentenceOf(asMeasured(runs, most))}.`,
  ]
}

function surprises(answers: readonly Answered[]): string[] {
  const against = answers.filter(({ answer, marked, claim }) => answer === 'does not hold' && !marked && claim.source)
  if (against.length === 0) return []
  const names = against.slice(0, 3).map(({ claim, question }) => `“${claim.name ?? question.title}”`)
  const more = against.length > 3 ? [...names, `${against.length - 3} more`] : names
  const tried = against.reduce((sum, { controls }) => sum + controls.length, 0)
  const other = against.flatMap(({ controls }) => controls).filter(({ answer }) => answer === 'holds').length
  const refuted =
    tried === 0
      ? '; no experiment tried to refute that yet.'
      : `; ${plural(tried, 'experiment')} tried to refute that, ${other === 0 ? 'none' : other} did.`
  return [`Against the literature: ${listed(more)}${refuted}`]
}

const ruleNames = {
  train: 'at the capacity of training, where an arm’s cost is what it is judged at',
  eval: 'at the capacity of evaluation (evalFactor)',
  none: 'without a capacity',
} as const

function basis(runs: Runs): string {
  const { rate, capacity } = runs.basis
  const rates = rate === 'best' ? 'each arm at its own best learning rate' : 'all arms at one learning rate'
  return `Verdicts use the held-out loss ${ruleNames[capacity]}, with ${rates}.`
}

interface Turns {
  /** Another capacity of evaluation has the opposite answer. */
  readonly capacity: boolean
  /** The other learning rate has another answer. */
  readonly rate: boolean
}

function turnsOf(runs: Runs, answers: readonly Answered[]): Turns[] {
  const rules = (['train', 'eval', 'none'] as const).map((capacity) => answersOf(runs.on({ capacity })))
  const other =
    runs.results.tuning.length === 0
      ? answers
      : answersOf(runs.on({ rate: runs.basis.rate === 'best' ? 'common' : 'best' }))
  return answers.map(({ answer }, i) => {
    const found = rules.map((all) => all[i]?.answer)
    return {
      capacity: found.includes('holds') && found.includes('does not hold'),
      rate: other[i]?.answer !== answer,
    }
  })
}

/** Where another capacity or learning rate would give another order, or another answer. */
function turning(
  runs: Runs,
  answers: readonly Answered[],
  turns: readonly Turns[],
  comparisons: readonly Comparison[],
): string[] {
  const some = (names: readonly string[]) =>
    listed(names.length > 3 ? [...names.slice(0, 3), `${names.length - 3} more`] : names)
  const named = (of: keyof Turns) =>
    answers.filter((_, i) => turns[i]?.[of]).map(({ claim, question }) => `“${claim.name ?? question.title}”`)
  const orders = comparisons.filter(({ turnsWithCapacity }) => turnsWithCapacity)
  const order = [...new Set(orders.map((one) => wordsOf(runs, one)))]
  const [byCapacity, byRate] = [named('capacity'), named('rate')]
  const parts = [
    ...(byCapacity.length > 0
      ? [`another capacity of evaluation has the opposite answer to ${some(byCapacity)} (‡)`]
      : []),
    ...(order.length > 0 ? [`the order of ${some(order)} depends on the capacity of evaluation (‡)`] : []),
    ...(byRate.length > 0 ? [`at the common learning rate the answer to ${some(byRate)} is another (§)`] : []),
  ]
  return parts.length === 0 ? [] : [`Take care: ${parts.join('; ')}.`]
}

function leaking(runs: Runs, comparisons: readonly Comparison[]): string[] {
  const arms = [...new Set(comparisons.flatMap(({ arm, baseline }) => [arm, baseline]))]
  const marked = arms.filter((arm) => runs.leakOf(arm) !== null)
  return marked.length === 0
    ? []
    : [
        `${plural(marked.length, 'arm')} (†) ${marked.length === 1 ? 'sees' : 'see'} later tokens, which a causal model cannot; their losses are too low by the nats that tables name.`,
      ]
}
