/**
 * Predictions beside what was found. A prediction is decided as a claim is: it puts a difference into a region, and the
 * interval over seeds lies inside the region, outside, or across an edge (`claims/decision.ts`). Predictions share a
 * correction by Holm of their own, so that writing them changes no answer to a claim.
 *
 * A prediction counts from the first of the registrations without a gap up to now that have it unchanged, with unchanged
 * settings of its arms. One that is in no registration yet was written after the study was started last.
 */
import { canonicalJson } from '../../../core/text/json.ts'
import { joinWords, plural } from '../../../core/text/numbers.ts'
import type { Cell, Table } from '../../report/blocks.ts'
import type { Section } from '../../report/report.ts'
import type { StudyResults } from '../contract.ts'
import { sideOf } from '../grid/claim.ts'
import type { Prediction, Protocol, Registration } from '../predictions/predictions.ts'
import { sha256Of } from '../predictions/predictions.ts'
import { contrastsText, expectedText, timeText, whenText } from '../predictions/text.ts'
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
      counted(judged),
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
  const { protocol, registrations } = registered
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
    return judgement ? [{ prediction, since: sinceOf(identityOf(prediction, protocol), registrations), judgement }] : []
  })
}

const regionOfPrediction = ({ expect, margin = 0, from = 0, to = 0 }: Prediction): Region =>
  expect === undefined ? { low: from, high: to } : regionOf(sideOf(expect), margin)

/** A prediction with what it is about, as text: it is another prediction if an arm has other settings. */
const identityOf = (prediction: Prediction, { arms, capacity, intervals, tune }: Protocol): string =>
  canonicalJson([
    prediction,
    capacity,
    ...(intervals ? [{ intervals }] : []),
    ...(tune ? [{ tune }] : []),
    prediction.contrasts.flat().map((arm) => arms[arm]),
  ])

const identitiesIn = (protocol: Protocol): string[] => protocol.predictions.map((one) => identityOf(one, protocol))

/** The first of the last registrations that have a prediction without a gap. */
function sinceOf(identity: string, registrations: readonly Registration[]): Registration | null {
  const gap = registrations.findLastIndex(({ protocol }) => !identitiesIn(protocol).includes(identity))
  return registrations[gap + 1] ?? null
}

interface Withdrawn {
  readonly prediction: Prediction
  readonly since: Registration
  /** The registration that lacks it; null if it is gone since the study was started last. */
  readonly until: Registration | null
}

/** Registered predictions that the study no longer has, or has again after a gap, in the order of their end. */
function withdrawnFrom({ protocol: now, registrations }: NonNullable<StudyResults['registered']>): Withdrawn[] {
  return registrations.flatMap(({ protocol }, i) => {
    const next = registrations[i + 1]
    const kept = identitiesIn(next?.protocol ?? now)
    return protocol.predictions.flatMap((prediction): Withdrawn[] => {
      const identity = identityOf(prediction, protocol)
      const since = sinceOf(identity, registrations.slice(0, i + 1))
      return kept.includes(identity) || since === null ? [] : [{ prediction, since, until: next ?? null }]
    })
  })
}

/** Tests of withdrawn predictions. They count in Holm's correction: otherwise, withdrawing what failed would help the rest. */
const withdrawnTests = (registered: NonNullable<StudyResults['registered']>): number =>
  withdrawnFrom(registered).reduce((tests, { prediction }) => tests + prediction.contrasts.length, 0)

function counted(judged: readonly Judged[]): string {
  if (judged.length === 0) return 'The study has no predictions now.'
  const count = (result: PredictionResult) =>
    judged.filter(({ judgement }) => resultWords[judgement.answer] === result).length
  const parts = (['held', 'not held', 'undecided'] as const).flatMap((result) =>
    count(result) > 0 ? [`${count(result)} ${count(result) === 1 ? 'is' : 'are'} ${result}`] : [],
  )
  const alone = judged.filter(({ judgement }) => judgement.uncorrected !== judgement.answer).length
  const correction =
    alone > 0
      ? ` after the correction for all of them; ${alone} of these ${alone === 1 ? 'is' : 'are'} decided by an interval alone (°)`
      : ''
  return `Of ${plural(judged.length, 'prediction')}, ${joinWords(parts)}${correction}.`
}

/** Sentences about when predictions were registered. */
function lateSentences(judged: readonly Judged[], withdrawn: readonly Withdrawn[]): string[] {
  const named = (some: readonly Judged[]) => joinWords(some.map(({ prediction }) => `“${prediction.question}”`))
  const late = judged.filter(({ since }) => since !== null && since.ended > 0)
  const open = judged.filter(({ since }) => since === null)
  if (judged.length > 0 && late.length === 0 && open.length === 0)
    return [
      withdrawn.every(({ until }) => until?.ended === 0)
        ? 'All were registered before the first result, and are unchanged since then.'
        : 'These were registered before the first result, and are unchanged since then; others were changed or withdrawn after results.',
    ]
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
function seedSentences({ protocol, registrations }: NonNullable<StudyResults['registered']>): string[] {
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
  const tests =
    judged.flatMap(({ judgement }) => judgement.decisions).filter(({ p }) => p !== null).length +
    (registered ? withdrawnTests(registered) : 0)
  const holm =
    tests > 1
      ? ` °: does not survive Holm's correction for the ${tests} tests of all predictions, withdrawn ones too.`
      : ''
  const texts = judged.some(({ judgement }) => judgement.dependsOnText)
    ? ' ‖: the interval between texts allows for another result.'
    : ''
  const arms = judged.flatMap(({ prediction }) => prediction.contrasts.flat())
  return table(
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

const registeredCell = (since: Registration | null): Cell =>
  since === null ? { text: 'not registered', tone: 'open' } : { text: whenText(since), note: timeText(since.at) }

const withdrawnTable = (withdrawn: readonly Withdrawn[]): Table | null =>
  table(
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

function registrationTable({ protocol, registrations }: NonNullable<StudyResults['registered']>): Table | null {
  const now = sha256Of(protocol)
  return table(
    `The registrations, as results.json.gz has them. SHA-256: its first ${HASH_DIGITS} digits.`,
    ['Registered', 'Results then', 'Predictions', 'Seeds', 'SHA-256'],
    registrations.map(({ protocol: then, sha256, at, ended }, i): Cell[] => [
      {
        text: timeText(at),
        ...(i === registrations.length - 1 && { note: sha256 === now ? 'as now' : 'changed since then' }),
      },
      { text: String(ended), exact: { values: [ended] } },
      { text: String(then.predictions.length), exact: { values: [then.predictions.length] } },
      { text: String(then.seeds.length), exact: { values: [then.seeds.length] } },
      sha256.slice(0, HASH_DIGITS),
    ]),
    [0, 4],
  )
}
