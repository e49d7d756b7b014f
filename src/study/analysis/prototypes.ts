/**
 * Expert prototyping against plain top-k. The fair pair is Z prototypes of top-k' against top-(Z·k') of
 * the same experts with the same capacity: both activate as many experts a token. Such pairs are compared
 * even where a question does not list them.
 */
import type { Contrast, Question } from '../contract.ts'
import { type Comparison, compareAll } from './comparison.ts'
import { differenceCurves } from './curves.ts'
import { listed } from './numbers.ts'
import { context, type Findings, sentences } from './plain.ts'
import { differOnlyIn, joined, type Routing, routingOf, sameArms } from './routing.ts'
import { armsOf, type Runs } from './runs.ts'
import { armTable, forest, present } from './tables.ts'
import { selectionVerdicts, timingTable } from './timings.ts'
import { headline } from './words.ts'

export function prototypes(runs: Runs, { id, contrasts }: Question): Findings {
  const equal = equalPairs(runs, contrasts)
  const comparisons = compareAll(runs, joined(contrasts, equal))
  const same = comparisons.filter((comparison) => equal.some((pair) => sameArms(pair, comparison)))
  const others = comparisons.filter((comparison) => !same.includes(comparison))
  return {
    verdicts: [
      headline(runs, comparisons),
      ...(comparisons.length < 2
        ? []
        : [
            ...sentences(runs, same, comparisons).map(
              (sentence) => `At as many activated experts and the same capacity, ${sentence}`,
            ),
            ...sentences(runs, others, comparisons),
          ]),
      ...equalCompute(comparisons),
      ...selectionVerdicts(runs, contrasts),
      ...context(runs, comparisons),
    ],
    blocks: present([
      forest(id, comparisons),
      armTable(runs, comparisons),
      timingTable(runs, contrasts),
      differenceCurves(id, comparisons),
    ]),
  }
}

/** Plain top-K as the baseline of Z prototypes of top-K/Z, all else equal. */
function equalPairs(runs: Runs, contrasts: readonly Contrast[]): Contrast[] {
  const routings = armsOf(contrasts).flatMap((arm) => routingOf(runs, arm) ?? [])
  const grouped = routings.filter(({ prototypes }) => prototypes > 1)
  return grouped.flatMap((arm) =>
    routings.filter((plain) => matches(runs, arm, plain)).map((plain) => ({ baseline: plain.arm, arm: arm.arm })),
  )
}

const matches = (runs: Runs, arm: Routing, plain: Routing): boolean =>
  plain.prototypes === 1 &&
  plain.activated === arm.activated &&
  plain.capacity === arm.capacity &&
  plain.factor === arm.factor &&
  differOnlyIn(runs, arm.arm, plain.arm, ['model.moe.router', 'model.moe.prototypes', 'model.moe.k'])

/** Kept assignments are counted, so FLOPs within a few percent are what "constant cost" can mean. */
const SAME_COST = 0.03

function equalCompute(comparisons: readonly Comparison[]): string[] {
  const better = comparisons.filter(
    ({ outcome, flops }) => outcome === 'better' && flops !== null && Math.abs(flops.mean - 1) <= SAME_COST,
  )
  if (better.length === 0) return []
  const pairs = better.map(({ arm, baseline }) => `${arm} against ${baseline}`)
  return [`Better with the same training FLOPs, within 3 %: ${listed(pairs)}.`]
}
