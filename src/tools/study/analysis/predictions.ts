/**
 * Predictions beside what was found. A prediction is decided as a claim is: it puts a difference into a region, and the
 * interval over seeds lies inside the region, outside, or across an edge (`claims/decision.ts`). Predictions share a
 * correction by Holm of their own, so that writing them changes no answer to a claim.
 *
 * `../results/registrations.ts` knows from which registration a prediction counts, and which predictions were withdrawn. A
 * prediction that is in no registration yet was written after the study was started last.
 */
import { joinWords, plural } from '../../../core/text/numbers.ts'
import type { Cell, Table } from '../../report/blocks.ts'
import type { Section } from '../../report/report.ts'
import { sideOf } from '../claim.ts'
import type { Prediction, Registration, StudyResults } from '../contract.ts'
import {
  isOf,
  type RegisteredPredictions,
  registeredSince,
  type Withdrawn,
  withdrawnFrom,
  withdrawnTests,
} from '../results/registrations.ts'
import { contrastsText, expectedText, timeText, whenText } from '../text.ts'
import { type Judgement, judge } from './claims/answers.ts'
import { type Answer, intervalOf, type Region, regionOf } from './claims/decision.ts'
import { measureWithTexts } from './claims/effects.ts'
import { answerText, decidingLabel, digitsByUnit, formatEffect, toneOf } from './claims/text.ts'
import { anytimeNote } from './numbers.ts'
import { Runs } from './runs.ts'
import { footnotes, shownBlocks, table } from './tables.ts'

export type PredictionResult = 'held' | 'not held' | 'undecided'

/** A prediction with what was found. */
export interface PredictionOutcome extends Prediction {
  /** The registration that it counts from; null if it is not registered. */
  readonly registered: Pick<Registration, 'at' | 'ended'> | null
  /** The result after Holm's correction for all predictions, and before it. */
  readonly result: PredictionResult
  readonly uncorrected: PredictionResult
  /** The contrast that decides, and its difference with its 95 % interval, nats a token; null without runs or interval. */
  readonly deciding: readonly [baseline: string, arm: string] | null
  readonly difference: number | null
  readonly low: number | null
  readonly high: number | null
}

interface Judged {
  readonly prediction: Prediction
  readonly since: Registration | null
  readonly judgement: Judgement
}

const resultWords: Readonly<Record<Answer, PredictionResult>> = {
  holds: 'held',
  'does not hold': 'not held',
  undecided: 'undecided',
}

export function predictionOutcomes(results: StudyResults): PredictionOutcome[] {
  return judgedIn(new Runs(results)).map(({ prediction, since, judgement }): PredictionOutcome => {
    const { answer, uncorrected, deciding } = judgement
    const [baseline, arm] = deciding?.arms ?? []
    const [low, high] = (deciding?.effect && intervalOf(deciding.effect)) ?? []
    return {
      ...prediction,
      registered: since && { at: since.at, ended: since.ended },
      result: resultWords[answer],
      uncorrected: resultWords[uncorrected],
      deciding: baseline !== undefined && arm !== undefined ? [baseline, arm] : null,
      difference: deciding?.effect?.mean ?? null,
      low: low ?? null,
      high: high ?? null,
    }
  })
}

/** The section of predictions; null if the study never had one. */
export function predictionSection(runs: Runs): Section | null {
  const { registered } = runs.results
  if (registered === undefined) return null
  const judged = judgedIn(runs)
  const withdrawn = withdrawnFrom(registered)
  return {
    id: 'predictions',
    title: 'Predictions',
    about:
      'What the researcher expected, as it was registered when the study was started. Predictions are decided by the same rule as claims: one is held if the whole 95 % interval is as predicted, not held if none of it is, and undecided if a part is. A result with ° does not survive the correction for all predictions.',
    verdicts: [
      countedSentence(judged),
      ...lateSentences(judged, withdrawn),
      ...seedSentences(registered),
      ...(withdrawn.length > 0
        ? [
            `${plural(withdrawn.length, 'earlier prediction')} ${withdrawn.length === 1 ? 'was' : 'were'} changed or withdrawn.`,
          ]
        : []),
    ],
    blocks: shownBlocks([predictionTable(runs, judged), withdrawnTable(withdrawn), registrationTable(registered)]),
  }
}

function judgedIn(runs: Runs): Judged[] {
  const { registered } = runs.results
  if (registered === undefined) return []
  const { protocol } = registered
  const judgements = judge(
    runs,
    protocol.predictions.map((prediction) => ({
      measured: prediction.contrasts.map(([baseline, arm]) => measureWithTexts(runs, { baseline, arm })),
      region: regionOfPrediction(prediction),
      of: prediction.of,
    })),
    withdrawnTests(registered),
  )
  return protocol.predictions.flatMap((prediction, i) => {
    const judgement = judgements[i]
    return judgement ? [{ prediction, since: registeredSince(prediction, registered), judgement }] : []
  })
}

const regionOfPrediction = ({ expect, margin = 0, from = 0, to = 0 }: Prediction): Region =>
  expect === undefined ? { low: from, high: to } : regionOf(sideOf(expect), margin)

const resultOrder = ['held', 'not held', 'undecided'] as const

/** How many predictions are held, not held and undecided, as a sentence. */
function countedSentence(judged: readonly Judged[]): string {
  const [first] = judged
  if (first === undefined) return 'The study has no predictions now.'
  const results = judged.map(({ judgement }) => resultWords[judgement.answer])
  const parts = resultOrder.flatMap((result) => {
    const count = results.filter((one) => one === result).length
    return count > 0 ? [{ result, count }] : []
  })
  const whole = parts.length === 1 ? parts[0] : undefined
  const all =
    judged.length === 1
      ? 'The prediction is'
      : judged.length === 2
        ? 'Both predictions are'
        : `All ${judged.length} predictions are`
  const sentence = whole
    ? `${all} ${whole.result}`
    : `Of ${plural(judged.length, 'prediction')}, ${joinWords(parts.map(({ result, count }) => `${count} ${count === 1 ? 'is' : 'are'} ${result}`))}`
  return `${sentence}${correctedClause(judged)}.`
}

/** Names the predictions that are undecided because of the correction alone. */
function correctedClause(judged: readonly Judged[]): string {
  const undecided = judged.filter(({ judgement }) => judgement.answer === 'undecided').length
  const corrected = judged.filter(({ judgement }) => judgement.uncorrected !== judgement.answer).length
  if (corrected === 0) return ''
  const which =
    corrected < undecided
      ? `; the intervals alone decide ${corrected} of the undecided ones`
      : undecided === 1
        ? `; its interval alone decides ${judged.length === 1 ? 'it' : 'the undecided one'}`
        : '; the intervals alone decide the undecided ones'
  return `${which} (°), which the correction for all tests takes back`
}

/** Sentences about when predictions were registered. */
function lateSentences(judged: readonly Judged[], withdrawn: readonly Withdrawn[]): string[] {
  const named = (some: readonly Judged[]) => joinWords(some.map(({ prediction }) => `“${prediction.question}”`))
  const late = judged.filter(({ since }) => since !== null && since.ended > 0)
  const open = judged.filter(({ since }) => since === null)
  if (judged.length > 0 && late.length === 0 && open.length === 0) {
    const [subject, are] =
      judged.length === 1 ? ['It was', 'is'] : judged.length === 2 ? ['Both were', 'are'] : ['All were', 'are']
    const others = withdrawn.filter(({ until }) => until?.ended !== 0).length
    return [
      `${subject} registered before the first result, and ${are} unchanged since then${
        others === 0
          ? ''
          : `; ${others === 1 ? 'another one was' : `${others} others were`} changed or withdrawn after results`
      }.`,
    ]
  }
  return [
    ...(late.length > 0
      ? [
          `Added or changed after the first result: ${joinWords(late.map(({ prediction, since }) => `“${prediction.question}” (after ${plural(since?.ended ?? 0, 'result')})`))}.`,
        ]
      : []),
    ...(open.length > 0
      ? [`Not registered: ${named(open)}; a prediction is registered when the study is started with it.`]
      : []),
  ]
}

/** A sentence if the seeds were changed after results were seen. */
function seedSentences({ protocol, registrations }: RegisteredPredictions): string[] {
  const plans = [...registrations, { protocol, ended: null }]
  return plans.flatMap(({ protocol: { seeds }, ended }, i) => {
    const before = plans[i - 1]?.protocol.seeds
    if (before === undefined || before.join() === seeds.join() || ended === 0) return []
    const when = ended === null ? 'since the study was started last' : `after ${plural(ended, 'result')}`
    return [`The seeds were changed ${when}: from ${before.join(', ')} to ${seeds.join(', ')}.`]
  })
}

function predictionTable(runs: Runs, judged: readonly Judged[]): Table | null {
  const measured = judged.flatMap(({ judgement }) => judgement.deciding ?? [])
  const digits = digitsByUnit(measured)
  const { registered } = runs.results
  const own = judged.flatMap(({ judgement }) => judgement.decisions).filter(({ p }) => p !== null).length
  const withdrawn = registered ? withdrawnTests(registered) : 0
  const holm = own + withdrawn > 1 ? ` °: does not survive Holm's correction for ${testsText(own, withdrawn)}.` : ''
  const texts = judged.some(({ judgement }) => judgement.dependsOnText)
    ? ' ‖: the interval between texts allows for another result.'
    : ''
  const arms = judged.flatMap(({ prediction }) => prediction.contrasts.flat())
  return table(
    'found',
    `Predictions and what was found, loss of the arm minus loss of its baseline, nats a token; negative is better. Of a prediction about several contrasts, the deciding one is shown. Registered: the number of results that there were.${holm}${texts}${anytimeNote(measured.map(({ effect }) => effect))}${footnotes(runs, arms)}`,
    ['Prediction', 'Expected', 'Result', 'Found', '95 % interval', 'Registered'],
    judged.map(({ prediction, since, judgement }): Cell[] => {
      const { deciding, uncorrected, dependsOnText } = judgement
      const found = deciding && formatEffect(deciding, digits.get(deciding.unit))
      const { values = [], interval } = found?.exact ?? {}
      return [
        { text: prediction.question, note: deciding ? decidingLabel(judgement) : contrastsText(prediction) },
        { text: expectedText(prediction), ...(prediction.because !== undefined && { note: prediction.because }) },
        {
          text: `${answerText(judgement, resultWords[uncorrected])}${dependsOnText ? ' ‖' : ''}`,
          tone: toneOf(uncorrected),
        },
        found ? { text: found.value, exact: { values } } : '–',
        found ? { text: found.interval, ...(interval && { exact: { values: [], interval } }) } : '–',
        registeredCell(since),
      ]
    }),
    [0, 1, 2, 5],
  )
}

/** The tests of the correction: a test is a contrast of a prediction. */
const testsText = (own: number, withdrawn: number): string =>
  withdrawn === 0
    ? `the ${own} tests of all predictions`
    : `${plural(own + withdrawn, 'test')}: ${own} of these predictions, and ${withdrawn} of predictions that were changed or withdrawn after results`

const registeredCell = (since: Registration | null): Cell =>
  since === null ? { text: 'not registered', tone: 'open' } : { text: whenText(since), note: timeText(since.at) }

const withdrawnTable = (withdrawn: readonly Withdrawn[]): Table | null =>
  table(
    'earlier',
    'Earlier predictions that were changed or withdrawn. A prediction is also changed if an arm in it gets other settings.',
    ['Earlier prediction', 'Expected', 'Registered', 'Until'],
    withdrawn.map(({ prediction, since, until }): Cell[] => [
      { text: prediction.question, note: contrastsText(prediction) },
      expectedText(prediction),
      registeredCell(since),
      until === null ? 'now' : registeredCell(until),
    ]),
    4,
  )

/** Digits of a hash in a table; results.json.gz has all 64. */
const HASH_DIGITS = 16

function registrationTable({ protocol, registrations }: RegisteredPredictions): Table | null {
  return table(
    'registrations',
    `The registrations, as results.json.gz has them. SHA-256: its first ${HASH_DIGITS} digits.`,
    ['Registered', 'Results then', 'Predictions', 'Seeds', 'SHA-256'],
    registrations.map((registration, i): Cell[] => {
      const { protocol: then, sha256, at, ended } = registration
      return [
        {
          text: timeText(at),
          ...(i === registrations.length - 1 && {
            note: isOf(registration, protocol) ? 'as now' : 'changed since then',
          }),
        },
        { text: String(ended), exact: { values: [ended] } },
        { text: String(then.predictions.length), exact: { values: [then.predictions.length] } },
        { text: String(then.seeds.length), exact: { values: [then.seeds.length] } },
        sha256.slice(0, HASH_DIGITS),
      ]
    }),
    [0, 4],
  )
}
