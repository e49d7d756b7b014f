/**
 * The section that any question can have: which arms differ from their baseline, what they cost, and how
 * the losses went. Other views begin with the same pieces and add what they look at.
 */
import type { Block } from '../../report/index.ts'
import type { Question } from '../contract.ts'
import { type Comparison, compareAll, tested } from './comparison.ts'
import { differenceCurves, lossCurves } from './curves.ts'
import type { Runs } from './runs.ts'
import { armTable, forest, present } from './tables.ts'
import { headline, multiplicity, unlikeText, verdictOf } from './words.ts'

/** What a section says and shows; the first verdict is its answer, which the summary repeats. */
export interface Findings {
  readonly verdicts: readonly string[]
  readonly blocks: readonly Block[]
}

export function plain(runs: Runs, { id, contrasts }: Question): Findings {
  const comparisons = compareAll(runs, contrasts)
  return {
    verdicts: plainVerdicts(runs, comparisons),
    blocks: present([
      forest(id, comparisons),
      armTable(runs, comparisons),
      lossCurves(runs, id, comparisons),
      differenceCurves(id, comparisons),
    ]),
  }
}

/** Attention arms differ in what the experts are; how the curves went is not what is asked. */
export function attention(runs: Runs, { id, contrasts }: Question): Findings {
  const comparisons = compareAll(runs, contrasts)
  return {
    verdicts: plainVerdicts(runs, comparisons),
    blocks: present([forest(id, comparisons), armTable(runs, comparisons)]),
  }
}

function plainVerdicts(runs: Runs, comparisons: readonly Comparison[]): string[] {
  return [headline(runs, comparisons), ...details(runs, comparisons)]
}

/** A sentence a comparison when there are several, then what chance would make of them. */
export function details(runs: Runs, comparisons: readonly Comparison[]): string[] {
  return [...(comparisons.length > 1 ? sentences(runs, comparisons, comparisons) : []), ...context(runs, comparisons)]
}

/** A sentence for each of `some` of the comparisons of a section. */
export function sentences(runs: Runs, some: readonly Comparison[], all: readonly Comparison[]): string[] {
  const total = tested(all).length
  return some.map((comparison) => verdictOf(runs, comparison, total))
}

/** How many comparisons there are, what chance makes of them, and what was left out. */
export function context(runs: Runs, comparisons: readonly Comparison[]): string[] {
  return [...multiplicity(comparisons), ...unlikeText(runs, comparisons)]
}
