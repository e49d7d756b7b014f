/**
 * The section of a question, one form for all: each claim with its answer in a sentence, the experiments that
 * tried to refute it, one table of contrasts, the forest plot, and the figure of the question's view.
 */
import type { Block, Cell, Table } from '../../report/blocks.ts'
import type { Section } from '../../report/report.ts'
import { listed, plural } from '../../text/numbers.ts'
import type { Question, View } from '../contract.ts'
import type { Answered } from './claims/answers.ts'
import type { Answer } from './claims/decision.ts'
import { wordsOf } from './claims/effects.ts'
import { sentenceOf, toneOf, wordsFor, writtenOf } from './claims/text.ts'
import { type Comparison, compareAll } from './comparison.ts'
import { differenceCurves } from './curves.ts'
import type { Runs } from './runs.ts'
import { raceFigure, raceTable } from './sections/convergence.ts'
import { imbalanceFigure } from './sections/imbalance.ts'
import { qualityAgainstFlops } from './sections/quality.ts'
import { scaleBlocks } from './sections/scale.ts'
import { timingTable } from './sections/timings.ts'
import { witnessBlocks } from './sections/witness.ts'
import { contrastTable, forest, present, table } from './tables.ts'

type Blocks = readonly (Block | null)[]
type Draw = (runs: Runs, question: Question, comparisons: readonly Comparison[]) => Blocks

/** Besides the table of contrasts and the forest plot. */
const drawings: Readonly<Record<Exclude<View, 'witness'>, Draw>> = {
  plain: (runs, { id }, comparisons) => [differenceCurves(runs, id, comparisons)],
  attention: () => [],
  prototypes: (runs, { id, contrasts }, comparisons) => [
    timingTable(runs, contrasts),
    differenceCurves(runs, id, comparisons),
  ],
  imbalance: (runs, question) => [imbalanceFigure(runs, question)],
  capacity: (runs, question) => [qualityAgainstFlops(runs, question)],
  scale: scaleBlocks,
  convergence: (runs, { id, contrasts }) => [raceTable(runs, contrasts), raceFigure(runs, id, contrasts)],
}

export interface Looked {
  readonly section: Section
  readonly comparisons: readonly Comparison[]
}

/** @param first the words of tables are explained in the first section */
export function sectionOf(runs: Runs, question: Question, answers: readonly Answered[], first: boolean): Looked {
  const { id, title, about, view } = question
  const comparisons = compareAll(runs, question.contrasts)
  const section = { id, title, about }
  if (view === 'witness') {
    const blocks = present([...witnessBlocks(runs, id, answers), refutations(answers)])
    return { section: { ...section, verdicts: [tally(answers)], blocks }, comparisons }
  }
  const verdicts = answers.length > 0 ? answers.map(answerSentence) : [counted(comparisons)]
  return {
    comparisons,
    section: {
      ...section,
      verdicts: [...verdicts, ...leftOut(runs, question)],
      blocks: present([
        severalContrasts(answers),
        refutations(answers),
        contrastTable(runs, comparisons, first),
        forest(runs, id, comparisons),
        ...drawings[view](runs, question, comparisons),
      ]),
    },
  }
}

/** “Two prototypes are better than top-1 (arXiv 2105.15082)” holds here: −0.021 nats a token (…). */
function answerSentence({ claim, answer, alone, deciding, decided, marked }: Answered): string {
  const source = claim.source ? ` (${claim.source})` : ''
  const verb = alone === 'cannot be said here' ? alone : `${wordsFor({ answer, alone })} here`
  const [which, many] = [deciding?.label ?? '', decided.length > 1]
  const number = deciding ? `: ${many ? `${which}, ` : ''}${sentenceOf(deciding)}` : ': not enough runs yet'
  const holm = answer === alone ? '' : "; ° not after Holm's correction"
  const mark = marked ? '; † one of its arms sees later tokens, so this is no answer for a causal model' : ''
  return `“${claim.statement}”${source} ${verb}${number}${holm}${mark}.`
}

/** The contrasts of a claim about several, each with its own answer. */
function severalContrasts(answers: readonly Answered[]): Table | null {
  const rows = answers.flatMap(({ decided }) =>
    decided.length < 2
      ? []
      : decided.map((one): Cell[] => {
          const { value, interval } = writtenOf(one)
          return [
            one.label,
            { text: wordsFor(one), tone: toneOf(one.alone) },
            { text: value, note: interval },
            one.unit,
          ]
        }),
  )
  return table(
    'The claim in each contrast. °: not after Holm’s correction.',
    ['Contrast', 'Claim', 'Effect', 'Unit'],
    rows,
    2,
  )
}

/** The experiments that tried to refute an answer. */
function refutations(answers: readonly Answered[]): Table | null {
  const several = answers.filter(({ controls }) => controls.length > 0).length > 1
  // Both by their own intervals.
  const rows = answers.flatMap(({ claim, controls, alone }) =>
    controls.map(({ control, measured, answer: found }): Cell[] => {
      const { value, interval } = writtenOf(measured)
      const same = found === alone ? 'same answer' : found === 'cannot be said here' ? 'undecided' : 'other answer'
      return [
        { text: control.name, note: measured.label },
        { text: same, tone: same === 'same answer' ? 'for' : same === 'undecided' ? 'open' : 'against' },
        ...(several ? [claim.name ?? claim.statement] : []),
        { text: value, note: interval },
      ]
    }),
  )
  return table(
    'Tried to refute it: other experiments on the same claim, each by its own 95 % interval, nats a token.',
    ['Experiment', 'Result', ...(several ? ['Claim'] : []), 'Difference'],
    rows,
    several ? 3 : 2,
  )
}

/** A question without a claim: how many contrasts are clear. */
function counted(comparisons: readonly Comparison[]): string {
  if (comparisons.length === 0) return 'Nothing is compared here.'
  const tested = comparisons.filter(({ estimate }) => estimate?.interval)
  if (tested.length === 0)
    return comparisons.some(({ estimate }) => estimate)
      ? 'There is one seed, which has no interval: nothing is found yet.'
      : 'Not enough runs yet.'
  const count = (outcome: string) => tested.filter((one) => one.outcome === outcome).length
  const parts = [
    ...(count('better') > 0 ? [`${count('better')} better`] : []),
    ...(count('worse') > 0 ? [`${count('worse')} worse`] : []),
  ]
  const found = parts.length === 0 ? 'none differs' : `${listed(parts)} than the baseline`
  const lost = count('maybe-better') + count('maybe-worse')
  const chance = lost === 0 ? '' : `; ${lost} more by the interval alone, which may be chance`
  return `Of ${plural(tested.length, 'contrast')}, after Holm's correction: ${found}${chance}.`
}

function tally(answers: readonly Answered[]): string {
  if (answers.length === 0) return 'No claim is compared here.'
  const count = (answer: Answer) => {
    const [all, kept] = [answers.filter((one) => one.alone === answer), answers.filter((one) => one.answer === answer)]
    const lost = all.length - kept.length
    return `${all.length}${lost > 0 && answer !== 'cannot be said here' ? ` (${lost} of them not after Holm's correction)` : ''}`
  }
  return `Of ${plural(answers.length, 'published claim')}, this study agrees with ${count('holds')}, disagrees with ${count('does not hold')}, and leaves ${count('cannot be said here')} undetermined.`
}

function leftOut(runs: Runs, { contrasts }: Question): string[] {
  const unlike = contrasts.filter((contrast) => runs.unlike(contrast) > 0)
  return unlike.length === 0
    ? []
    : [
        `Left out, since the two runs of a pair saw different text or tokens: ${listed(unlike.map((contrast) => wordsOf(runs, contrast)))}.`,
      ]
}
