/** The questions of a study as they are listed before it runs: what each compares, and what its claims expect. */

import type { Claim } from '../claim.ts'
import type { Contrast, Question } from '../contract.ts'
import { expectedText } from '../text.ts'

export interface QuestionPlan {
  readonly title: string
  readonly contrasts: readonly Contrast[]
  readonly claims: readonly ClaimPlan[]
}

export interface ClaimPlan {
  readonly statement: string
  /** The number that decides, in words: `loss`, `steps to the same loss`, `loss over tokens`. */
  readonly number: string
  /** What it is expected to be: `better by more than 0.01`, `flat, within 0.02`. */
  readonly expected: string
  /** Whether all or most of the contrasts must be so; null for a number of several arms together. */
  readonly of: 'all' | 'most' | null
  /** The contrasts whose differences it is about, or else the arms whose losses it is about. */
  readonly contrasts: readonly Contrast[]
  readonly arms: readonly string[]
  /** Experiments that try to refute the answer. */
  readonly controls: readonly (Contrast & { readonly name: string })[]
}

export const questionPlans = (questions: readonly Question[]): QuestionPlan[] =>
  questions.map(({ title, contrasts, claims = [] }) => {
    return { title, contrasts, claims: claims.map((claim) => claimPlan(claim, contrasts)) }
  })

const contrastOf = ([baseline, arm]: readonly [string, string]): Contrast => ({ baseline, arm })

function claimPlan(claim: Claim, ofQuestion: readonly Contrast[]): ClaimPlan {
  const arms = 'arms' in claim ? (claim.arms ?? []) : []
  const own = 'contrasts' in claim ? claim.contrasts?.map(contrastOf) : undefined
  return {
    statement: claim.statement,
    number: numberOf(claim, arms.length > 0),
    expected: expectedOf(claim),
    of: 'of' in claim ? claim.of : null,
    contrasts: arms.length > 0 ? [] : (own ?? ofQuestion),
    arms,
    controls: claim.controls.map(({ name, contrast }) => ({ name, ...contrastOf(contrast) })),
  }
}

function numberOf(claim: Claim, isOfArms: boolean): string {
  const what = isOfArms ? 'loss' : 'difference in loss'
  switch (claim.kind) {
    case 'difference':
      return 'loss'
    case 'speed':
      return `${claim.measure === 'flops' ? 'FLOPs' : claim.measure} to the same loss`
    case 'trend':
      return `${what} over ${claim.over}`
    case 'returns':
      return `returns of the ${what} over ${claim.over}`
    case 'correlation':
      return 'correlation of load imbalance with the loss'
  }
}

function expectedOf({ expect, margin }: Claim): string {
  if (expect === 'better' || expect === 'worse' || expect === 'equal')
    return expectedText({ expect, margin } as Parameters<typeof expectedText>[0])
  if (margin === 0) return expect
  return `${expect}, ${expect === 'flat' || expect === 'constant' ? 'within' : 'by more than'} ${margin}`
}
