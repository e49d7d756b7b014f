/**
 * The start of a report. Its headline is the strongest finding: the best arm of a sweep, otherwise the first row of the
 * summary in words. The summary has a table with one row per claim, strongest finding first, and at most five sentences
 * that do not repeat the headline. The row of a claim shows the contrast that decides its answer (see
 * `claims/decision.ts`). A question without a claim has a row with the clearest of the differences that survive the
 * correction, by effect over standard error; if none does, with the clearest of all. If it is the only question, its own section has
 * that row already, and the summary has no table.
 */

import { descending } from 'd3-array'
import { plural } from '../../../core/text/numbers.ts'
import type { Cell, Tone } from '../../report/blocks.ts'
import type { Section } from '../../report/report.ts'
import type { ClaimAnswer } from './claims/answers.ts'
import type { Measured } from './claims/effects.ts'
import {
  decidingLabel,
  detectableRemark,
  digitsByUnit,
  formatEffect,
  formatVisible,
  intervalCell,
  plainSentence,
  reachByUnit,
  toneOf,
} from './claims/text.ts'
import { anytimeMark, anytimeNote } from './numbers.ts'
import {
  asMeasured,
  byLargest,
  isClear,
  isFirm,
  type Sensitivity,
  sensitivityOf,
  sentencesOf,
} from './opening-sentences.ts'
import type { Runs } from './runs.ts'
import type { QuestionSection } from './section.ts'
import { bestArmSentence, bestOfSweep } from './sections/best-arm.ts'
import { table } from './tables.ts'

export interface Opening {
  /** The strongest finding in a sentence; undefined if nothing is found yet. */
  readonly headline: string | undefined
  readonly section: Section
  readonly findings: readonly Finding[]
}

/** A row of the table that opens a report, as text: a claim, or a question without claims, with its answer. */
export interface Finding {
  readonly question: string
  /** `holds`, `does not hold` or `undecided`, with the marks of the report; without a claim, for example `2 of 3 differ`. */
  readonly answer: string
  /** The marks of the answer, of the arms and of the interval. */
  readonly marks: readonly FindingMark[]
  readonly tone: Tone
  /** A remark on the answer. */
  readonly remark: string | null
  /** The contrast that the numbers are about, the effect with its unit, and its 95 % interval; null without runs. */
  readonly measured: {
    readonly label: string
    readonly effect: string
    readonly interval: string
    readonly unit: string
  } | null
}

/** The marks of a finding; `anytime` is the word before an interval that holds at every look. */
export type FindingMark = '°' | '†' | '‡' | '§' | '‖' | '¶' | 'anytime'

interface Row {
  readonly question: string
  /** The answer without its marks. */
  readonly answer: string
  readonly marks: readonly FindingMark[]
  /** A remark on the answer, below it. */
  readonly remark: string | null
  readonly tone: Tone
  readonly measured: Measured | null
  /** The finding in a sentence, if it survives the correction and all its arms are causal. */
  readonly sentence: string | null
  /** |effect| over its standard error; -1 without an answer. */
  readonly strength: number
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
  ].toSorted((a, b) => descending(a.strength, b.strength))
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
        'answers',
        `The study in one table, strongest finding first. Under each question: the arm against its baseline.${explained(rows, answers)} Effect: negative, or below ×1, if the arm has the lower loss or needs fewer steps, FLOPs or seconds; its interval is over seeds. Drawn: the same on an axis; the line is zero (or ×1), rows of one unit share a scale, and // breaks it before an effect far larger than the others. Colours, in all tables and figures: blue if the interval excludes zero and the arm is better, orange if it is worse. Visible from: the smallest true effect that four of five such studies would find (80 % power at the 5 % level, two-sided).${holm}${anytimeNote(shown.map(({ effect }) => effect))}${capacityNames(runs)}`,
        ['Question', 'Answer', 'Drawn', 'Effect', '95 % interval', 'Visible from'],
        rows.map((row): Cell[] => {
          const { question, remark, tone, measured } = row
          const effect = measured && formatEffect(measured, digits.get(measured.unit))
          const { values = [], interval } = effect?.exact ?? {}
          return [
            { text: question, ...(measured && { note: measured.label }) },
            { text: markedAnswer(row), tone, ...(remark !== null && { note: remark }) },
            measured ? intervalCell(measured, reaches.get(measured.unit) ?? 0) : '–',
            effect ? { text: effect.value, exact: { values } } : '–',
            effect
              ? { text: effect.interval, note: measured.unit, ...(interval && { exact: { values: [], interval } }) }
              : '–',
            measured ? formatVisible(measured, digits.get(measured.unit)) : '–',
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
      verdicts: sentencesOf(runs, answers, turns, questionSections, headline),
      blocks: [],
    },
    findings: rows.map((row) => findingOf(runs, row, digits)),
  }
}

const markedAnswer = ({ answer, marks }: Row): string => [answer, ...marks].join(' ')

function findingOf(runs: Runs, row: Row, digits: ReadonlyMap<string, number>): Finding {
  const { question, tone, remark, measured } = row
  const arms = measured?.arms ?? []
  const found = {
    ...{ question, answer: markedAnswer(row), tone, remark },
    marks: [
      ...new Set([
        ...row.marks,
        ...arms.flatMap((arm) => runs.marksOf(arm)),
        ...(measured?.effect && anytimeMark(measured.effect) !== '' ? (['anytime'] as const) : []),
      ]),
    ],
  }
  if (measured === null) return { ...found, measured: null }
  const { label, unit } = measured
  const { value, interval } = formatEffect(measured, digits.get(unit))
  return { ...found, measured: { label, effect: value, interval, unit } }
}

/** The sentences of the caption about the answers that the table has. */
function explained(rows: readonly Row[], answers: readonly ClaimAnswer[]): string {
  return [
    ...(answers.some(({ decisions }) => decisions.length > 1)
      ? [
          ' Of a claim about several contrasts, the deciding one is shown: the worst for the claim, or if most must be as claimed, the one on which the majority turns.',
        ]
      : []),
    ...(answers.length > 0 ? [' Answer: from the interval; undecided if the interval allows for both answers.'] : []),
    ...(rows.some(({ remark }) => remark !== null)
      ? [
          ' Detectable, within the margin: the interval excludes zero, and the difference is so small that the claim counts it as none.',
        ]
      : []),
    ...(answers.length < rows.length
      ? [
          " Differ: contrasts that differ from zero after Holm's correction for the question; shown is the clearest of them, or if there is none, of all contrasts: the one with the largest effect over its standard error.",
        ]
      : []),
  ].join('')
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

/** |effect| over its standard error, infinite without noise; -1 without an error, for example of one seed. */
function strengthOf({ effect }: Measured): number {
  if (effect === null || effect.error === null) return UNKNOWN
  return effect.mean === 0 ? 0 : Math.abs(effect.mean) / effect.error
}

const UNKNOWN = -1

function rowOf(answered: ClaimAnswer, turns: Sensitivity | undefined): Row {
  const { question, claim, answer, uncorrected, deciding, decisions, dependsOnText, seesFuture } = answered
  const [label, remark] = [decidingLabel(answered), detectableRemark(answered)]
  const which = decisions.length > 1 ? `In the contrast that decides, of ${decisions.length}: ` : ''
  return {
    question: claim.name ?? question.title,
    answer: uncorrected,
    marks: [
      ...(answer === uncorrected ? [] : (['°'] as const)),
      ...(seesFuture ? (['†'] as const) : []),
      ...(turns?.capacity ? (['‡'] as const) : []),
      ...(turns?.rate ? (['§'] as const) : []),
      ...(dependsOnText ? (['‖'] as const) : []),
    ],
    tone: toneOf(uncorrected),
    remark,
    measured: deciding && { ...deciding, label },
    sentence:
      answer === 'undecided' || seesFuture || !deciding
        ? null
        : `This study ${answer === 'holds' ? 'agrees' : 'disagrees'}: “${claim.statement}”. ${which}${plainSentence(deciding)}${remark === null ? '' : `; ${remark}`}.`,
    strength: uncorrected !== 'undecided' && deciding ? strengthOf(deciding) : UNKNOWN,
  }
}

function rowsWithoutClaim(runs: Runs, looked: readonly QuestionSection[], answers: readonly ClaimAnswer[]): Row[] {
  return looked.flatMap(({ section, comparisons }): Row[] => {
    if (answers.some(({ question }) => question.id === section.id)) return []
    const clear = comparisons.filter(isClear)
    const [shown] = (clear.length > 0 ? clear : comparisons.filter(({ estimate }) => estimate)).toSorted(
      (a, b) => descending(strengthOf(asMeasured(runs, a)), strengthOf(asMeasured(runs, b))) || byLargest(a, b),
    )
    const measured = shown ? asMeasured(runs, shown) : null
    const several = clear.length > 1 ? `, the clearest of ${clear.length}` : ', the nearest to a difference'
    const tested = comparisons.filter(({ estimate }) => estimate?.interval).length
    const [only] = comparisons
    const outcome = comparisons.length === 1 ? only?.outcome : undefined
    const single = outcome === 'better' || outcome === 'worse' ? outcome : null
    return [
      {
        question: section.title,
        answer: single ?? (tested === 0 ? 'undecided' : `${clear.length} of ${tested} differ`),
        marks: [],
        remark: null,
        tone: single ?? (clear.length > 0 ? 'strong' : 'open'),
        measured: measured && {
          ...measured,
          label: `${measured.label}${clear.length !== 1 && tested > 1 ? several : ''}`,
        },
        sentence: shown && measured && isFirm(runs, shown) ? `${plainSentence(measured)}.` : null,
        strength: clear.length > 0 && measured ? strengthOf(measured) : UNKNOWN,
      },
    ]
  })
}
