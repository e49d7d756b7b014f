/**
 * The answers to all claims of a study. All decisions share one correction by Holm: without it, a study that
 * answers twenty claims would get one wrong by chance.
 */

import { type Claim, type Control, sideOf } from '../../claim.ts'
import type { Question } from '../../contract.ts'
import { holm } from '../../statistics.ts'
import type { Runs } from '../runs.ts'
import {
  type Answer,
  combineAnswers,
  decide,
  decidingOf,
  intervalOf,
  pValueOf,
  type Region,
  regionOf,
} from './decision.ts'
import { type Measured, measureClaim, measureDifference } from './effects.ts'

export interface Decision extends Measured {
  /** p-value after Holm's correction; null without an interval. */
  readonly p: number | null
  readonly answer: Answer
  /** The answer from its own interval, before the correction. */
  readonly uncorrected: Answer
  /** The answer from its interval over documents; if there is none, from the interval over seeds. */
  readonly betweenTexts: Answer
}

export interface ControlResult {
  readonly control: Control
  readonly measured: Measured
  /** The answer from its own interval, without a correction: a control is one experiment for one purpose. */
  readonly answer: Answer
}

/** Measured numbers and the region in which a claim or a prediction expects all or most of them. */
export interface Expectation {
  readonly measured: readonly Measured[]
  readonly region: Region
  readonly of: 'all' | 'most'
}

export interface Judgement {
  readonly decisions: readonly Decision[]
  /** The answer after the correction, and before it. */
  readonly answer: Answer
  readonly uncorrected: Answer
  /** The contrast that decides the answer and stands for the claim: see `decision.ts`. */
  readonly deciding: Decision | null
  /** Whether there is an answer that the intervals over documents do not give. */
  readonly dependsOnText: boolean
  /** Whether an arm of the claim sees later tokens. */
  readonly seesFuture: boolean
}

export interface ClaimAnswer extends Judgement {
  readonly question: Question
  readonly claim: Claim
  readonly controls: readonly ControlResult[]
}

export function answersOf(runs: Runs): ClaimAnswer[] {
  const claims = runs.results.questions.flatMap((question) =>
    (question.claims ?? []).map((claim) => ({ question, claim })),
  )
  const judgements = judge(
    runs,
    claims.map(({ question, claim }) => ({
      measured: measureClaim(runs, claim, question),
      region: regionOfClaim(claim),
      of: 'of' in claim ? claim.of : 'all',
    })),
  )
  return claims.flatMap(({ question, claim }, i) => {
    const judgement = judgements[i]
    const controls = claim.controls.map((control) => controlResult(runs, claim, control))
    return judgement ? [{ question, claim, ...judgement, controls }] : []
  })
}

/**
 * Decides expectations by the one rule. All of their decisions share one correction by Holm.
 * @param withdrawn Number of further tests that count in the correction, although they are not decided any more.
 */
export function judge(runs: Runs, expectations: readonly Expectation[], withdrawn = 0): Judgement[] {
  const corrected = holm([
    ...expectations.flatMap(({ measured, region }) => measured.map(({ effect }) => effect && pValueOf(effect, region))),
    ...Array<number>(withdrawn).fill(1),
  ])
  return expectations.map(({ measured, region, of }): Judgement => {
    const decisions = measured.map((one): Decision => {
      const p = corrected.shift() ?? null
      const uncorrected = decide(one.effect && intervalOf(one.effect), region)
      const betweenTexts = one.texts ? decide(one.texts, region) : uncorrected
      return { ...one, p, uncorrected, betweenTexts, answer: p !== null && p < 0.05 ? uncorrected : 'undecided' }
    })
    const combined = (kind: 'answer' | 'uncorrected' | 'betweenTexts') =>
      combineAnswers(
        decisions.map((one) => one[kind]),
        of,
      )
    const uncorrected = combined('uncorrected')
    return {
      decisions,
      answer: combined('answer'),
      uncorrected,
      deciding: decidingOf(decisions, region, of),
      dependsOnText: uncorrected !== 'undecided' && combined('betweenTexts') !== uncorrected,
      seesFuture: decisions.some(({ arms }) => arms.some((arm) => runs.leakOf(arm) !== null)),
    }
  })
}

/**
 * The region in which a claim expects its number, on the scale on which the number is measured: the margin of a ratio or
 * a correlation is converted to that scale.
 */
export function regionOfClaim({ kind, expect, margin }: Claim): Region {
  const scaled =
    kind === 'speed' ? Math.log(1 + margin) : kind === 'correlation' ? Math.atanh(Math.min(margin, 0.999)) : margin
  return regionOf(sideOf(expect), scaled)
}

/** A control is a difference in loss. For claims of another kind, only its side of zero counts. */
function controlResult(runs: Runs, claim: Claim, control: Control): ControlResult {
  const [baseline, arm] = control.contrast
  const on = control.capacity ? runs.withBasis({ capacity: control.capacity }) : runs
  const measured = measureDifference(on, { baseline, arm }, control.seeds)
  const region = regionOf(sideOf(claim.expect), claim.kind === 'difference' ? claim.margin : 0)
  return { control, measured, answer: decide(measured.effect && intervalOf(measured.effect), region) }
}
