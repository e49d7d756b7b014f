/**
 * The start of a report. Its headline is the strongest finding: the best arm of a sweep, otherwise the first row of the
 * summary in words. The summary has a table with one row per claim, strongest finding first, and at most five sentences
 * that do not repeat the headline. A question without a claim has a row with its strongest contrast; if it is the only
 * question, its own section has that row already, and the summary has no table.
 */

import { joinWords, plural } from '../../../core/text/numbers.ts'
import type { Cell, Tone } from '../../report/blocks.ts'
import type { Section } from '../../report/report.ts'
import { answersOf, type ClaimAnswer } from './claims/answers.ts'
import { contrastText, type Measured } from './claims/effects.ts'
import { answerText, digitsByUnit, formatEffect, intervalCell, reachByUnit, sentenceOf, toneOf } from './claims/text.ts'
import type { Comparison } from './comparison.ts'
import { effectOf } from './ratios.ts'
import type { Runs } from './runs.ts'
import type { QuestionSection } from './section.ts'
import { bestArmSentence, bestOfSweep } from './sections/best-arm.ts'
import { table } from './tables.ts'

export interface Opening {
  /** The strongest finding in a sentence; undefined if nothing is found yet. */
  readonly headline: string | undefined
  readonly section: Section
}

interface Row {
  readonly question: string
  readonly answer: string
  readonly tone: Tone
  readonly measured: Measured | null
  /** The finding in a sentence, if it survives the correction and all its arms are causal. */
  readonly sentence: string | null
  /** |effect| over its standard error; null without an answer. */
  readonly strength: number | null
}

export function opening(
  runs: Runs,
  answers: readonly ClaimAnswer[],
  questionSections: readonly QuestionSection[],
): Opening {
  const turns = sensitivityOf(runs, answers)
  const rows = [
    ...answers.map((answered, i) => rowOf(answered, turns[i])),
    ...rowsWithoutClaim(runs, questionSections, answers),
  ].toSorted((a, b) => (b.strength ?? -1) - (a.strength ?? -1))
  const tests = answers.flatMap(({ decisions }) => decisions).filter(({ p }) => p !== null).length
  const holm =
    tests > 1
      ? ` °: the answer does not survive Holm's correction for the ${tests} tests of all claims; the chance that any answer without this mark is wrong stays below 5 %.`
      : ''
  const shown = rows.flatMap(({ measured }) => measured ?? [])
  const [reaches, digits] = [reachByUnit(shown), digitsByUnit(shown)]
  const isAlone = answers.length === 0 && questionSections.length === 1
  const lead = isAlone
    ? null
    : table(
        `The study in one table, strongest finding first. Under each question: the arm against its baseline (+1: and one more pair). Answer: from the interval; undecided if the interval allows for both answers. Effect: negative, or below ×1, if the arm has the lower loss or needs fewer steps, FLOPs or seconds; its interval is over seeds. Drawn: the same on an axis; the line is zero (or ×1), and rows of one unit share a scale. Visible from: half the width of the interval; a smaller effect could not have been seen.${holm}${capacityNames(runs)}`,
        ['Question', 'Answer', 'Drawn', 'Effect', '95 % interval', 'Visible from'],
        rows.map(({ question, answer, tone, measured }): Cell[] => {
          const { value, interval, visible } = measured
            ? formatEffect(measured, digits.get(measured.unit))
            : { value: '–', interval: '–', visible: '–' }
          return [
            { text: question, ...(measured && { note: measured.label }) },
            { text: answer, tone },
            measured ? intervalCell(measured, reaches.get(measured.unit) ?? 0, tone) : '–',
            value,
            { text: interval, ...(measured && { note: measured.unit }) },
            visible,
          ]
        }),
        3,
      )
  const headline = headlineOf(runs, rows)
  return {
    headline: headline === undefined ? undefined : `${soFar(runs)}${headline}`,
    section: {
      id: 'summary',
      title: 'Summary',
      about: '',
      ...(lead && { lead }),
      verdicts: sentences(runs, answers, turns, questionSections, headline),
      blocks: [],
    },
  }
}

/** The best arm of the first sweep, otherwise the strongest row. */
function headlineOf(runs: Runs, rows: readonly Row[]): string | undefined {
  const [best] = runs.results.questions.flatMap((question) => bestOfSweep(runs, question) ?? [])
  if (best !== undefined) return bestArmSentence(best)
  return rows.flatMap(({ sentence }) => sentence ?? [])[0]
}

/** Marks a headline that further runs may change. */
function soFar({ results: { cells } }: Runs): string {
  const done = cells.filter(({ record }) => record !== null).length
  return done < cells.length ? `So far, with ${done} of ${plural(cells.length, 'run')}: ` : ''
}

/** Explains 1x and kx if names of arms use them. */
const capacityNames = ({ results }: Runs): string =>
  Object.keys(results.arms).some((arm) => /\b[1k]x\b/.test(arm))
    ? ' In names of arms, 1x means that the experts have capacity for one assignment of each token, kx for all k of them.'
    : ''

const strengthOf = ({ effect }: Measured): number | null =>
  effect === null || effect.error === null ? null : Math.abs(effect.mean) / effect.error

function rowOf(
  { question, claim, answer, uncorrected, deciding, decisions, dependsOnText, seesFuture }: ClaimAnswer,
  turns: Sensitivity | undefined,
): Row {
  const answered = uncorrected !== 'undecided'
  const rest =
    decisions.length > 1 && deciding ? { ...deciding, label: `${deciding.label}, +${decisions.length - 1}` } : deciding
  return {
    question: claim.name ?? question.title,
    answer: `${answerText({ answer, uncorrected })}${seesFuture ? ' †' : ''}${turns?.capacity ? ' ‡' : ''}${turns?.rate ? ' §' : ''}${dependsOnText ? ' ‖' : ''}`,
    tone: toneOf(uncorrected),
    measured: rest,
    sentence:
      answer === 'undecided' || seesFuture || !deciding
        ? null
        : `“${claim.statement}” ${answer} here: ${deciding.label}, ${sentenceOf(deciding)}.`,
    strength: answered && deciding ? strengthOf(deciding) : null,
  }
}

const isClear = ({ outcome }: Comparison): boolean => outcome === 'better' || outcome === 'worse'

function rowsWithoutClaim(runs: Runs, looked: readonly QuestionSection[], answers: readonly ClaimAnswer[]): Row[] {
  return looked.flatMap(({ section, comparisons }): Row[] => {
    if (answers.some(({ question }) => question.id === section.id)) return []
    const clear = comparisons.filter(isClear)
    const known = (clear.length > 0 ? clear : comparisons).filter(({ estimate }) => estimate).toSorted(byLargest)
    const largest = known[0] ? asMeasured(runs, known[0]) : null
    const tested = comparisons.filter(({ estimate }) => estimate?.interval).length
    const [only] = comparisons
    const single = comparisons.length === 1 && only && isClear(only) ? only.outcome : null
    return [
      {
        question: section.title,
        answer: single ?? (tested === 0 ? 'undecided' : `${clear.length} of ${tested} differ`),
        tone: single === 'worse' ? 'against' : clear.length > 0 ? 'for' : 'open',
        measured: largest,
        sentence: known[0] && largest && isFirm(runs, known[0]) ? contrastSentence(known[0], largest) : null,
        strength: clear.length > 0 && largest ? strengthOf(largest) : null,
      },
    ]
  })
}

const isFirm = (runs: Runs, one: Comparison): boolean =>
  isClear(one) && runs.leakOf(one.arm) === null && runs.leakOf(one.baseline) === null

const byLargest = (a: Comparison, b: Comparison): number =>
  Math.abs(b.estimate?.mean ?? 0) - Math.abs(a.estimate?.mean ?? 0)

const asMeasured = (runs: Runs, comparison: Comparison): Measured => ({
  label: contrastText(runs, comparison),
  arms: [comparison.baseline, comparison.arm],
  scale: 'linear',
  unit: 'nats a token',
  effect: effectOf(comparison.differences),
})

/** The sentences of the summary, at most five. */
function sentences(
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

/** A contrast in a sentence: `X is better than Y, −0.021 nats a token (...).` */
const contrastSentence = ({ arm, baseline, outcome }: Comparison, measured: Measured): string =>
  `${arm} is ${outcome} than ${baseline}, ${sentenceOf(measured)}.`

/** The largest effect of all contrasts between causal arms; empty if the headline has it, or after a sweep. */
function largestEffect(runs: Runs, comparisons: readonly Comparison[], headline: string | undefined): string[] {
  const [first] = comparisons.filter((one) => isFirm(runs, one)).toSorted(byLargest)
  if (comparisons.length === 0) return []
  if (first === undefined) return ['No contrast of the study differs from zero after Holm’s correction.']
  const sentence = contrastSentence(first, asMeasured(runs, first))
  const isSweep = runs.results.questions.some((question) => bestOfSweep(runs, question))
  return isSweep || headline?.includes(sentence) ? [] : [`The largest effect: ${sentence}`]
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

interface Sensitivity {
  /** Whether another evaluation capacity gives the opposite answer. */
  readonly capacity: boolean
  /** Whether the other learning rate gives another answer. */
  readonly rate: boolean
}

function sensitivityOf(runs: Runs, answers: readonly ClaimAnswer[]): Sensitivity[] {
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
