/**
 * The section of a question. All sections have the same form: each claim with its answer in a sentence, the
 * experiments that tried to refute it, one table of contrasts, the forest plot, and the figures of the
 * question's view.
 */

import { joinWords, plural } from '../../../core/text/numbers.ts'
import type { Block, Cell, Table } from '../../report/blocks.ts'
import type { Section } from '../../report/report.ts'
import type { Question } from '../contract.ts'
import type { View } from '../specification.ts'
import type { ClaimAnswer } from './claims/answers.ts'
import type { Answer } from './claims/decision.ts'
import { contrastText } from './claims/effects.ts'
import { answerText, contrastAnswer, decidingLabel, detectableRemark, effectCell, sentenceOf } from './claims/text.ts'
import { type Comparison, compareAll } from './comparison.ts'
import { differenceCurves } from './curves.ts'
import { mapBlocks, mapSentences } from './map/blocks.ts'
import type { Runs } from './runs.ts'
import { bestArmCautions } from './sections/best-arm.ts'
import { branchBlocks } from './sections/branches.ts'
import { costTable, evaluationFigure } from './sections/convergence.ts'
import { imbalanceFigure } from './sections/imbalance.ts'
import { qualityAgainstFlops } from './sections/quality.ts'
import { scaleBlocks } from './sections/scale.ts'
import { sweepFigures } from './sections/sweep.ts'
import { timingTable } from './sections/timings.ts'
import { witnessBlocks } from './sections/witness.ts'
import { contrastTable, forest, routerTable, shownBlocks, table } from './tables.ts'

type Blocks = readonly (Block | null)[]
type Draw = (runs: Runs, question: Question, comparisons: readonly Comparison[]) => Blocks

/** Blocks of each view, in addition to the table of contrasts and the forest plot. */
const drawings: Readonly<Record<Exclude<View, 'witness'>, Draw>> = {
  plain: (runs, { id }, comparisons) => [differenceCurves(runs, id, comparisons)],
  sweep: (runs, { id }, comparisons) => [differenceCurves(runs, id, comparisons)],
  attention: () => [],
  prototypes: (runs, { id, contrasts }, comparisons) => [
    timingTable(runs, contrasts),
    differenceCurves(runs, id, comparisons),
  ],
  imbalance: (runs, question) => [imbalanceFigure(runs, question)],
  capacity: (runs, question) => [qualityAgainstFlops(runs, question)],
  scale: scaleBlocks,
  map: mapBlocks,
  convergence: (runs, { id, contrasts }) => [costTable(runs, contrasts), evaluationFigure(runs, id, contrasts)],
}

export interface QuestionSection {
  readonly section: Section
  readonly comparisons: readonly Comparison[]
}

/** @param first Whether it is the first section, the only one that explains the columns of tables. */
export function sectionOf(
  runs: Runs,
  question: Question,
  answers: readonly ClaimAnswer[],
  first: boolean,
): QuestionSection {
  const { id, title, about, view } = question
  const comparisons = compareAll(runs, question.contrasts)
  const section = { id, title, about }
  if (view === 'witness') {
    const blocks = shownBlocks([...witnessBlocks(runs, id, answers), controlTable(answers)])
    return { section: { ...section, verdicts: [witnessCounts(answers)], blocks }, comparisons }
  }
  const verdicts = answers.length > 0 ? answers.map(answerSentence) : [contrastCounts(comparisons)]
  return {
    comparisons,
    section: {
      ...section,
      verdicts: [
        ...(view === 'map' ? mapSentences(runs, question) : []),
        ...verdicts,
        ...bestArmCautions(runs, question),
        ...mismatchedPairs(runs, question),
      ],
      blocks: shownBlocks([
        ...(view === 'sweep' ? sweepFigures(runs, question) : []),
        answersByContrast(answers),
        controlTable(answers),
        contrastTable(runs, comparisons, first),
        routerTable(runs, armsOf(comparisons), first),
        forest(runs, id, comparisons),
        ...branchBlocks(runs, question, comparisons),
        ...drawings[view](runs, question, comparisons),
      ]),
    },
  }
}

/** The arms of comparisons, baselines first. */
const armsOf = (comparisons: readonly Comparison[]): string[] => [
  ...comparisons.map(({ baseline }) => baseline),
  ...comparisons.map(({ arm }) => arm),
]

/** An answer: `“Two prototypes are better than top-1” (arXiv 2105.15082) holds here: −0.021 nats a token (…).` */
function answerSentence(answered: ClaimAnswer): string {
  const { claim, answer, uncorrected, deciding, decisions, dependsOnText, seesFuture } = answered
  const source = claim.source ? ` (${claim.source})` : ''
  const verb = `${uncorrected === 'undecided' ? 'is ' : ''}${answerText({ answer, uncorrected })} here`
  const which = decisions.length > 1 ? `${decidingLabel(answered)}, ` : ''
  const number = deciding ? `: ${which}${sentenceOf(deciding)}` : ': not enough runs yet'
  const remark = detectableRemark(answered)
  const small = remark === null ? '' : `; ${remark}`
  const holm = answer === uncorrected ? '' : "; °: does not survive Holm's correction"
  const mark = seesFuture ? '; †: an arm sees later tokens, so this is no answer for a causal model' : ''
  const texts = dependsOnText ? '; ‖: the interval between texts allows for another answer' : ''
  return `“${claim.statement}”${source} ${verb}${number}${small}${holm}${texts}${mark}.`
}

/** The contrasts of claims about several contrasts, each with its own answer. */
function answersByContrast(answers: readonly ClaimAnswer[]): Table | null {
  const rows = answers.flatMap(({ claim, decisions }) =>
    decisions.length < 2
      ? []
      : decisions.map((one): Cell[] => [one.label, contrastAnswer(claim, one), effectCell(one), one.unit]),
  )
  return table(
    'claim',
    'The claim in each of its contrasts. °: does not survive Holm’s correction.',
    ['Contrast', 'Claim', 'Effect', 'Unit'],
    rows,
    2,
  )
}

/** The experiments that tried to refute an answer. */
function controlTable(answers: readonly ClaimAnswer[]): Table | null {
  const several = answers.filter(({ controls }) => controls.length > 0).length > 1
  // Answers before the correction are compared, because there is no correction for controls.
  const rows = answers.flatMap(({ claim, controls, uncorrected }) =>
    controls.map(({ control, measured, answer: found }): Cell[] => {
      // If the claim's own contrasts leave it undecided, an experiment that decides it does not refute the answer.
      const other = uncorrected === 'undecided' ? found : 'other answer'
      const open = uncorrected === 'undecided' ? 'undecided too' : 'undecided'
      const result = found === 'undecided' ? open : found === uncorrected ? 'same answer' : other
      return [
        { text: control.name, note: measured.label },
        { text: result, tone: result.endsWith(' answer') ? 'strong' : 'open' },
        ...(several ? [claim.name ?? claim.statement] : []),
        effectCell(measured),
      ]
    }),
  )
  return table(
    'controls',
    'Attempts to refute the answer: other experiments on the same claim, each judged by its own 95 % interval, nats a token.',
    ['Experiment', 'Result', ...(several ? ['Claim'] : []), 'Difference'],
    rows,
    several ? 3 : 2,
  )
}

/** A sentence about how many contrasts of a question without a claim differ. */
function contrastCounts(comparisons: readonly Comparison[]): string {
  if (comparisons.length === 0) return 'Nothing is compared here.'
  const tested = comparisons.filter(({ estimate }) => estimate?.interval)
  if (tested.length === 0)
    return comparisons.some(({ estimate }) => estimate)
      ? comparisons.every(({ pairs }) => pairs.length < 2)
        ? 'There is one seed, which has no interval: nothing is found yet.'
        : 'There are too few seeds for an interval: nothing is found yet.'
      : 'Not enough runs yet.'
  const count = (outcome: string) => tested.filter((one) => one.outcome === outcome).length
  const parts = [
    ...(count('better') > 0 ? [`${count('better')} better`] : []),
    ...(count('worse') > 0 ? [`${count('worse')} worse`] : []),
  ]
  const found = parts.length === 0 ? 'none differs' : `${joinWords(parts)} than the baseline`
  const lost = count('maybe-better') + count('maybe-worse')
  const chance = lost === 0 ? '' : `; without the correction ${lost} more, which may be chance`
  return `Of ${plural(tested.length, 'contrast')}, after Holm's correction: ${found}${chance}.`
}

function witnessCounts(answers: readonly ClaimAnswer[]): string {
  if (answers.length === 0) return 'No claim is compared here.'
  const count = (answer: Answer) => {
    const [all, kept] = [
      answers.filter((one) => one.uncorrected === answer),
      answers.filter((one) => one.answer === answer),
    ]
    const lost = all.length - kept.length
    return `${all.length}${lost > 0 && answer !== 'undecided' ? ` (${lost} of them only without Holm's correction)` : ''}`
  }
  return `Of ${plural(answers.length, 'published claim')}, this study agrees with ${count('holds')}, disagrees with ${count('does not hold')}, and leaves ${count('undecided')} undecided.`
}

function mismatchedPairs(runs: Runs, { contrasts }: Question): string[] {
  const omitted = contrasts.filter((contrast) => runs.countMismatched(contrast) > 0)
  return omitted.length === 0
    ? []
    : [
        `Left out, because the two runs of a pair saw different text or tokens: ${joinWords(omitted.map((contrast) => contrastText(runs, contrast)))}.`,
      ]
}
