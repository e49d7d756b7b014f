/**
 * Do the number of activated experts k and the capacity C make a difference? Arms form a grid of k, the
 * capacity rule (1x, kx, none) and the factor. A question may list a few contrasts; whatever else the
 * grid allows is compared too, and all of it shares one correction.
 */
import type { Contrast, Question } from '../contract.ts'
import { dropRate, gridTable, lossAgainstFactor, qualityAgainstFlops } from './capacity-blocks.ts'
import { type Comparison, compareAll, reversed, tested } from './comparison.ts'
import { type Family, familiesOf } from './grid.ts'
import { digitsOf, fixed, listed, percent, plural } from './numbers.ts'
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
      families.length > 0 ? answers(comparisons, families) : headline(runs, comparisons),
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

/** In the direction of the family, more against less, whichever way a question lists it. */
function found(comparisons: readonly Comparison[], contrast: Contrast): Comparison | undefined {
  const comparison = comparisons.find((other) => sameArms(other, contrast))
  return comparison && (comparison.arm === contrast.arm ? comparison : reversed(comparison))
}

/** Which families are told together, in what words. */
const subjects: readonly (readonly [Family['what'], string, words: string, includes: (family: Family) => boolean])[] = [
  ['k', 'More experts a token (k)', 'with capacity kx', ({ capacity }) => capacity === 'kx'],
  ['k', 'More experts a token (k)', 'without capacity', ({ capacity }) => capacity === 'none'],
  ['k', 'More experts a token (k)', 'with capacity 1x', ({ capacity }) => capacity === '1x'],
  ['factor', 'More capacity (C)', 'with a larger factor or no limit', () => true],
  ['rule', 'More capacity (C)', 'with kx instead of 1x', () => true],
]

/** A sentence for k and one for C: which way the losses go, how far, and how much of it is sure. */
function answers(comparisons: readonly Comparison[], families: readonly Family[]): string {
  const sentences = new Map<string, string[]>()
  for (const [what, subject, words, includes] of subjects) {
    const own = families
      .filter((family) => family.what === what && includes(family))
      .flatMap((family) => family.contrasts.flatMap((contrast) => found(comparisons, contrast) ?? []))
    const before = sentences.get(subject) ?? []
    if (own.length > 0) sentences.set(subject, [...before, `${words} ${tally(own, before.length === 0)}`])
  }
  return [...sentences].map(([subject, parts]) => `${subject}: ${parts.join('; ')}.`).join(' ')
}

/** `better in 3 of 4 comparisons by 0.124 to 0.179 nats a token (2 after Holm's correction)`; units only the first time. */
function tally(comparisons: readonly Comparison[], first: boolean): string {
  const able = tested(comparisons)
  const all = first ? plural(able.length, 'comparison') : String(able.length)
  const unit = first ? ' nats a token' : ''
  if (able.length === 0) return 'not enough runs yet'
  const parts = (['better', 'worse'] as const).flatMap((way) => {
    const clear = able.filter(({ outcome }) => outcome === way || outcome === `maybe-${way}`)
    if (clear.length === 0) return []
    const sure = clear.filter(({ outcome }) => outcome === way).length
    return [
      `${way} in ${clear.length} of ${all} by ${sizesOf(clear)}${unit} (${sure === 0 ? 'none' : sure} after Holm's correction)`,
    ]
  })
  return parts.length === 0 ? `no difference found in ${all}` : listed(parts)
}

/** The smallest and the largest mean difference, without a sign. */
function sizesOf(comparisons: readonly Comparison[]): string {
  const known = comparisons.flatMap(({ estimate }) => estimate ?? [])
  const sizes = known.map(({ mean }) => Math.abs(mean))
  const visible = Math.ceil(-Math.log10(Math.min(...sizes)))
  const digits = Math.max(visible, Math.min(...known.map(digitsOf)))
  const [low, high] = [fixed(Math.min(...sizes), digits), fixed(Math.max(...sizes), digits)]
  return low === high ? low : `${low} to ${high}`
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
