/**
 * Do the number of activated experts k and the capacity C make a difference? Arms form a grid of k, the
 * capacity rule (1x, kx, none) and the factor. A question may list a few contrasts; whatever else the
 * grid allows is compared too, and all of it shares one correction.
 */
import type { Contrast, Question } from '../contract.ts'
import { dropRate, gridTable, lossAgainstFactor, qualityAgainstFlops } from './capacity-blocks.ts'
import { type Comparison, compareAll, tested } from './comparison.ts'
import { type Family, familiesOf } from './grid.ts'
import { percent, plural } from './numbers.ts'
import { context, type Findings, sentences } from './plain.ts'
import { joined, type Routing, routingOf, sameArms } from './routing.ts'
import { armsOf, type Runs } from './runs.ts'
import { armTable, forest, present } from './tables.ts'
import { headline, verdictOf } from './words.ts'

export function capacity(runs: Runs, { id, contrasts }: Question): Findings {
  const routings = armsOf(contrasts).flatMap((arm) => routingOf(runs, arm) ?? [])
  const families = familiesOf(runs, routings)
  const inGrid = families.flatMap((family) => family.contrasts)
  const comparisons = compareAll(runs, joined(contrasts, inGrid))
  const others = comparisons.filter((comparison) => !inGrid.some((contrast) => sameArms(contrast, comparison)))
  return {
    verdicts: [
      ...(families.length > 0 ? answers(comparisons, families) : [headline(runs, comparisons)]),
      ...families.flatMap((family) => familySentences(runs, family, comparisons)),
      ...(comparisons.length > 1 ? sentences(runs, others, comparisons) : []),
      ...drops(runs, routings),
      ...context(runs, comparisons),
    ],
    blocks: present([
      gridTable(runs, routings, contrasts),
      forest(id, comparisons),
      qualityAgainstFlops(runs, id, routings, contrasts),
      lossAgainstFactor(runs, id, routings, contrasts),
      armTable(runs, comparisons),
    ]),
  }
}

const found = (comparisons: readonly Comparison[], contrast: Contrast): Comparison | undefined =>
  comparisons.find((comparison) => sameArms(comparison, contrast))

const subjects = [
  ['k', 'the number of experts a token (k)'],
  ['factor', 'the capacity factor (C)'],
  ['rule', 'capacity kx instead of 1x'],
] as const

/** One sentence: which of k, C and the rule made a difference in how many of their comparisons. */
function answers(comparisons: readonly Comparison[], families: readonly Family[]): string[] {
  const parts = subjects.flatMap(([what, name]) => {
    const own = families
      .filter((family) => family.what === what)
      .flatMap((family) => family.contrasts.flatMap((contrast) => found(comparisons, contrast) ?? []))
    const able = [...new Set(tested(own))]
    if (able.length === 0) return own.length === 0 ? [] : [`${name}: not enough runs yet`]
    const better = able.filter(({ outcome }) => outcome === 'better').length
    const worse = able.filter(({ outcome }) => outcome === 'worse').length
    const ways = [...(better > 0 ? [`better in ${better}`] : []), ...(worse > 0 ? [`worse in ${worse}`] : [])]
    return [
      ways.length === 0
        ? `${name}: none found in ${plural(able.length, 'comparison')}`
        : `${name}: ${ways.join(', ')} of ${plural(able.length, 'comparison')}`,
    ]
  })
  return parts.length === 0
    ? []
    : [`Differences that survive Holm's correction, more against less: ${parts.join('; ')}.`]
}

function familySentences(runs: Runs, { title, contrasts }: Family, comparisons: readonly Comparison[]): string[] {
  const total = tested(comparisons).length
  return contrasts.flatMap((contrast) => {
    const comparison = found(comparisons, contrast)
    if (comparison === undefined) return []
    const [more, less] = [dropRate(runs, contrast.arm), dropRate(runs, contrast.baseline)]
    const dropped = more === null || less === null ? '' : ` Dropped: ${percent(more)} against ${percent(less)}.`
    return [`${title}: ${verdictOf(runs, comparison, total)}${dropped}`]
  })
}

/** Where capacity binds: without drops, a capacity cannot make a difference. */
function drops(runs: Runs, routings: readonly Routing[]): string[] {
  const known = routings.flatMap(({ arm }) => {
    const rate = dropRate(runs, arm)
    return rate === null ? [] : [{ arm, rate }]
  })
  const [most] = known.toSorted((a, b) => b.rate - a.rate)
  if (most === undefined) return []
  if (most.rate === 0) return ['No arm dropped an assignment in the last quarter of training: its capacity bound none.']
  return [
    `Drops in the last quarter of training go from ${percent(Math.min(...known.map(({ rate }) => rate)))} to ${percent(most.rate)} (${most.arm}).`,
  ]
}
