/**
 * The answers to all claims of a study. Decisions of all claims share one correction by Holm: a study that
 * answers twenty claims would otherwise get one wrong by chance.
 */
import type { Question } from '../../contract.ts'
import { type Claim, type Control, sideOf } from '../../grid/claim.ts'
import { holm } from '../../statistics.ts'
import type { Runs } from '../runs.ts'
import { type Answer, chanceOf, decide, intervalOf, type Region, regionOf, together } from './decision.ts'
import { differenceOf, type Measured, measuredOf } from './effects.ts'

export interface Decided extends Measured {
  /** After Holm's correction; null without an interval. */
  readonly p: number | null
  readonly answer: Answer
  /** By its own interval, before the correction. */
  readonly alone: Answer
}

export interface Tried {
  readonly control: Control
  readonly measured: Measured
  /** By its own interval: a control is one experiment, asked for one purpose. */
  readonly answer: Answer
}

export interface Answered {
  readonly question: Question
  readonly claim: Claim
  readonly decided: readonly Decided[]
  /** After the correction, and by intervals alone. */
  readonly answer: Answer
  readonly alone: Answer
  /** The contrast on which the answer rests: the weakest of those that hold, or the strongest that does not. */
  readonly deciding: Decided | null
  /** An arm of the claim sees later tokens. */
  readonly marked: boolean
  readonly controls: readonly Tried[]
}

export function answersOf(runs: Runs): Answered[] {
  const open = runs.results.questions.flatMap((question) =>
    (question.claims ?? []).map((claim) => {
      const region = regionFor(claim)
      return { question, claim, region, measured: measuredOf(runs, claim, question) }
    }),
  )
  const chances = open.flatMap(({ measured, region }) =>
    measured.map(({ effect }) => (effect === null ? null : chanceOf(effect, region))),
  )
  const tested = chances.filter((p) => p !== null)
  const adjusted = holm(tested)
  const corrected = chances.map((p) => (p === null ? null : (adjusted.shift() ?? 1)))
  return open.map(({ question, claim, region, measured }): Answered => {
    const decided = measured.map((one): Decided => {
      const p = corrected.shift() ?? null
      const alone = decide(one.effect && intervalOf(one.effect), region)
      return { ...one, p, alone, answer: p !== null && p < 0.05 ? alone : 'cannot be said here' }
    })
    const of = 'of' in claim ? claim.of : 'all'
    const [answer, alone] = (['answer', 'alone'] as const).map((kind) =>
      together(
        decided.map((one) => one[kind]),
        of,
      ),
    ) as [Answer, Answer]
    return {
      question,
      claim,
      decided,
      answer,
      alone,
      deciding: decidingOf(decided, alone),
      marked: decided.some(({ arms }) => arms.some((arm) => runs.leakOf(arm) !== null)),
      controls: claim.controls.map((control) => triedOf(runs, claim, control)),
    }
  })
}

/** Ratios and correlations are measured on scales of their own. */
function regionFor({ kind, expect, margin }: Claim): Region {
  const own =
    kind === 'speed' ? Math.log(1 + margin) : kind === 'correlation' ? Math.atanh(Math.min(margin, 0.999)) : margin
  return regionOf(sideOf(expect), own)
}

function decidingOf(decided: readonly Decided[], answer: Answer): Decided | null {
  const own = decided.filter(({ alone, effect }) => alone === answer && effect !== null)
  const sorted = own.toSorted((a, b) => (a.p ?? 2) - (b.p ?? 2))
  return (answer === 'does not hold' ? sorted[0] : sorted.at(-1)) ?? decided.find(({ effect }) => effect) ?? null
}

/** A control asks the same of a difference; a claim of another kind asks only on which side it lies. */
function triedOf(runs: Runs, claim: Claim, control: Control): Tried {
  const [baseline, arm] = control.contrast
  const on = control.capacity ? runs.on({ capacity: control.capacity }) : runs
  const measured = differenceOf(on, { baseline, arm }, control.seeds)
  const region = regionOf(sideOf(claim.expect), claim.kind === 'difference' ? claim.margin : 0)
  return { control, measured, answer: decide(measured.effect && intervalOf(measured.effect), region) }
}
