/**
 * The claims that docs/findings.md tests, with their effects from committed results: of the study itself, of the same
 * arms with further seeds and at the larger size, and of arms of the same names with more text, at three sizes. Every
 * number comes from the analysis of studies.
 */
import { describeModel } from '../../../src/core/model/describe.ts'
import { fixed } from '../../../src/core/text/numbers.ts'
import { answersOf, type ClaimAnswer, regionOfClaim } from '../../../src/tools/study/analysis/claims/answers.ts'
import { type Answer, decide, intervalOf, type Region } from '../../../src/tools/study/analysis/claims/decision.ts'
import { type Measured, measureClaim } from '../../../src/tools/study/analysis/claims/effects.ts'
import { answerText, digitsByUnit, formatEffect } from '../../../src/tools/study/analysis/claims/text.ts'
import type { Runs } from '../../../src/tools/study/analysis/runs.ts'
import { sideOf } from '../../../src/tools/study/claim.ts'

/** What is compared, in plain words, by the name of the claim, in the order of docs/findings.md. */
const comparisons: Readonly<Record<string, string>> = {
  'Routing beats a dense model': 'one expert of many against dense',
  'More activated experts help': 'two experts for a token against one',
  'Capacity matters': 'room for two choices against for one',
  'k top-1 beats top-k': 'two prototypes against top-2',
  'Prototypes help at constant cost': 'two prototypes against top-1',
  'Prototypes gain with size': 'the same, per doubling of size',
  'Prototypes converge faster': 'steps to reach a loss, as a ratio to top-1',
  'Imbalance does not matter': 'no balancing loss against one',
  'MoE attention harms': 'experts in attention too',
  'Learned routing beats hashing': 'a learned router against a hash',
}

const papers: Readonly<Record<string, string>> = {
  'arXiv 2105.15082': 'M6-T',
  'arXiv 2101.03961': 'Switch',
  'arXiv 2202.01169': 'Clark et al.',
}

/** The runs that test the claims at one size: the arms of the claims, or the arms of another size that match them. */
interface RunSet {
  readonly name: string
  readonly runs: Runs
  /** What the names of its arms begin with, before the name in the claim. */
  readonly prefix: string
  /** The claims of its own study about trends, by name. */
  readonly trends?: ReadonlyMap<string, Measured>
}

export interface ShownEffect {
  /** Index in {@link ShownClaims.sets}. */
  readonly set: number
  readonly mean: number
  readonly low: number
  readonly high: number
  readonly answer: Answer
  /** The answer in words; ° if it does not survive the correction for all claims of the study. */
  readonly answerText: string
  /** Mean and interval as in reports. */
  readonly value: string
  readonly interval: string
}

/** An experiment that tries to refute an answer. */
interface ShownControl {
  readonly name: string
  readonly answer: Answer
  readonly value: string
  readonly interval: string
}

export interface ShownClaim {
  readonly name: string
  /** The claim in a sentence without a full stop. */
  readonly statement: string
  /** The paper that makes the claim. */
  readonly paper: string
  /** The comparison in plain words. */
  readonly about: string
  /** Where the claim expects its effect. */
  readonly region: Region
  /** Whether the effects are in nats a token, so that the margin of no difference applies. */
  readonly inNats: boolean
  /** Whether effects are logarithms of ratios. */
  readonly isRatio: boolean
  readonly effects: readonly ShownEffect[]
  readonly controls: readonly ShownControl[]
}

export interface ShownClaims {
  /** Sets of runs in words. */
  readonly sets: readonly string[]
  readonly claims: readonly ShownClaim[]
  /** Number of claims of the study, for all of which answers are corrected; some of them may not be shown. */
  readonly tested: number
  /** The largest difference that a claim of the study counts as no difference, nats a token. */
  readonly margin: number
}

/**
 * @param study results of `choir study m6t`
 * @param further results of arms of the same names with other seeds
 * @param longer results of arms of the same names with more text
 * @param bySize results of arms of the same names at three sizes with equal text, and of trends with size
 */
export function shownClaims(study: Runs, further: Runs, longer: Runs, bySize: Runs): ShownClaims {
  const answers = inOrder(answersOf(study))
  const compared = answers.flatMap(({ deciding }) => deciding?.arms ?? [])
  const sizeAndSeeds = (runs: Runs, prefix: string, between = '') => {
    const model = runs.finished(`${prefix}dense`)[0]?.config.model
    const active = model ? describeModel(model).computingParameters : Number.NaN
    const arms = compared.map((arm) => `${prefix}${arm}`)
    return `${fixed(active / 1e6, 2)} M active parameters${between}, ${seedsText(runs, arms)}`
  }
  const sets: RunSet[] = [
    { name: sizeAndSeeds(study, ''), runs: study, prefix: '' },
    { name: `the same, ${further.results.seeds.length} further seeds`, runs: further, prefix: '' },
    { name: sizeAndSeeds(study, 'large, '), runs: study, prefix: 'large, ' },
    ...['', '0.3 M, '].map((prefix) => ({ name: sizeAndSeeds(longer, prefix, ', more text'), runs: longer, prefix })),
    { name: sizeAndSeeds(bySize, '1 M, ', ', more text'), runs: bySize, prefix: '1 M, ', trends: trendsOf(bySize) },
  ]
  const tested = answers.map((answered) => ({
    answered,
    effects: sets.flatMap((set, i) => effectIn(set, i, answered) ?? []),
  }))
  // Decimals as in the report of the study. A further set with a narrow interval would add one to all rows.
  const ofStudy = tested.flatMap(({ effects }) => effects.filter(({ set }) => set === 0))
  const digits = digitsByUnit(ofStudy.map(({ measured }) => measured))
  return {
    sets: sets.map(({ name }) => name),
    tested: tested.length,
    claims: tested.map(({ answered: { claim, deciding, controls }, effects }): ShownClaim => {
      const name = claim.name ?? claim.statement
      return {
        name,
        statement: claim.statement,
        paper: claim.source === undefined ? 'reported' : (papers[claim.source] ?? claim.source),
        about: comparisons[name] ?? '',
        region: regionOfClaim(claim),
        inNats: deciding?.unit === 'nats a token',
        isRatio: deciding?.scale === 'log',
        effects: effects.map(({ set, measured, mean, low, high, answer, answerText }) => {
          const { value, interval } = formatEffect(measured, digits.get(measured.unit))
          return { set, mean, low, high, answer, answerText, value, interval }
        }),
        controls: controls.map(({ control, measured, answer }) => {
          const { value, interval } = formatEffect(measured, digits.get(measured.unit))
          return { name: control.name, answer, value, interval }
        }),
      }
    }),
    margin: Math.max(...tested.map(({ answered: { claim } }) => (sideOf(claim.expect) === 0 ? claim.margin : 0))),
  }
}

/** How many seeds the arms have; an incomplete study may have fewer of some, and the arms of another size are not all there. */
function seedsText(runs: Runs, arms: readonly string[]): string {
  const counts = arms.map((arm) => runs.finished(arm).length).filter((count) => count > 0)
  const [least, most] = [Math.min(...counts), Math.max(...counts)]
  return least === most ? `${most} seeds` : `${least} to ${most} seeds`
}

/** The answers in the order of docs/findings.md. @throws an internal error for a claim that has no words here */
function inOrder(answers: readonly ClaimAnswer[]): ClaimAnswer[] {
  const names = Object.keys(comparisons)
  const place = ({ claim }: ClaimAnswer) => names.indexOf(claim.name ?? claim.statement)
  const unknown = answers.find((answer) => place(answer) < 0)
  if (unknown) throw new Error(`internal: bench/studies/findings/claims.ts has no words for “${unknown.claim.name}”`)
  return answers.toSorted((a, b) => place(a) - place(b))
}

type Effect = Omit<ShownEffect, 'value' | 'interval'> & { readonly measured: Measured }

/** The effect of a claim in a set of runs; undefined if the set lacks the arms, or has no interval for them. */
function effectIn(
  { runs, prefix, trends }: RunSet,
  set: number,
  { claim, question, deciding }: ClaimAnswer,
): Effect | undefined {
  if (!deciding) return undefined
  if (set === 0) return asShown(set, deciding, deciding.uncorrected, answerText(deciding))
  const measured = measuredIn()
  if (!measured?.effect) return undefined
  const answer = decide(intervalOf(measured.effect), regionOfClaim(claim))
  return asShown(set, measured, answer, answer)

  function measuredIn(): Measured | undefined {
    if (claim.kind === 'trend') return trends?.get(claim.name ?? '')
    if ((claim.kind !== 'difference' && claim.kind !== 'speed') || !deciding) return undefined
    const [baseline = '', arm = ''] = deciding.arms.map((name) => `${prefix}${name}`)
    if (!(baseline in runs.results.arms && arm in runs.results.arms)) return undefined
    return measureClaim(runs, { ...claim, contrasts: [[baseline, arm]] }, question)[0]
  }
}

const trendsOf = (runs: Runs): ReadonlyMap<string, Measured> =>
  new Map(
    answersOf(runs).flatMap(({ claim, deciding }) =>
      claim.kind === 'trend' && claim.name !== undefined && deciding ? [[claim.name, deciding] as const] : [],
    ),
  )

function asShown(set: number, measured: Measured, answer: Answer, answerText: string): Effect | undefined {
  const interval = measured.effect && intervalOf(measured.effect)
  if (!measured.effect || !interval) return undefined
  return { set, measured, mean: measured.effect.mean, low: interval[0], high: interval[1], answer, answerText }
}
