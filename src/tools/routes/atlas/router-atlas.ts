/** Puts the counts of a router into its part of the atlas, with the intervals of shares and lifts over documents. */
import { coefficientOfVariation, maxOverMean, sumOf } from '../../../core/averages.ts'
import type { TextDraws } from '../../study/bootstrap.ts'
import type { Interval } from '../../study/statistics.ts'
import type { ExpertAtlas, RouterAtlas } from './contract.ts'
import type { RecordCounts, RouterCounts } from './counts.ts'
import type { Listings, RouterListing } from './listed.ts'
import { tokenShares } from './token-share.ts'

/** Pairs of experts are duplicates if this share of the tokens of either goes to both: their Jaccard index. */
const DUPLICATE = 0.9

/** What all routers of an atlas share. */
export interface AtlasText {
  readonly counts: RecordCounts
  readonly listings: Listings
  readonly draws: TextDraws
  /** The groups of each domain. */
  readonly domains: readonly { readonly name: string; readonly groups: readonly number[] }[]
  /** Number of tokens T, and the sum of the tokens of the groups in each draw. */
  readonly tokens: number
  readonly tokens_D: Float64Array
  /** Occurrences of the listed tokens in each draw, which routers share. */
  readonly occurrences_D: Map<number, Float64Array>
}

export function routerAtlas(index: number, text: AtlasText): RouterAtlas {
  const counts = text.counts.routers[index] as RouterCounts
  const { router, chosen_N, dropped_N } = counts
  const { layer, module, experts, prototypes, choices } = router
  const { tokens } = text
  const shares = tokenShares(counts.table(text.counts.occurrences.length), text.counts.occurrences)
  const entropy = counts.hasEntropy ? counts.entropy / tokens : null
  const largest = Math.log(experts / prototypes)
  const assigned = sumOf(chosen_N)
  return {
    ...{ layer, module, experts, prototypes, choices },
    load_cv: coefficientOfVariation(chosen_N),
    max_over_mean: maxOverMean([...chosen_N]),
    drop_rate: assigned > 0 ? sumOf(dropped_N) / assigned : 0,
    entropy,
    entropy_share: entropy === null || largest === 0 ? null : entropy / largest,
    token_share: shares.share,
    dead: [...chosen_N.keys()].filter((expert) => chosen_N[expert] === 0),
    duplicates: duplicatesOf(counts),
    domain_load_cv: text.domains.map(({ groups }) =>
      coefficientOfVariation(Array.from(chosen_N, (_, expert) => sumOf(ofGroups(counts, expert, groups)))),
    ),
    of: expertsOf(index, text, shares.ofExpert),
  }
}

function duplicatesOf({ router, chosen_N, together_NN }: RouterCounts): RouterAtlas['duplicates'] {
  const { experts } = router
  const found: RouterAtlas['duplicates'][number][] = []
  for (let a = 0; a < experts; a++)
    for (let b = a + 1; b < experts; b++) {
      const both = together_NN[a * experts + b] as number
      const jaccard = both / ((chosen_N[a] as number) + (chosen_N[b] as number) - both)
      if (jaccard >= DUPLICATE) found.push({ experts: [a, b], jaccard })
    }
  return found
}

function expertsOf(index: number, text: AtlasText, tokenShare: readonly (number | null)[]): ExpertAtlas[] {
  const counts = text.counts.routers[index] as RouterCounts
  const listing = text.listings.routers[index] as RouterListing
  const { chosen_N, dropped_N, gate_N } = counts
  const { draws, tokens, tokens_D, domains } = text
  const { tokens_G } = text.counts
  const chosen_ND = Array.from(chosen_N, (_, expert) => draws.sums(ofGroups(counts, expert)))
  const mean = sumOf(chosen_N) / chosen_N.length
  /** The interval of (part / whole) / (chosen / T), for parts of an expert's tokens. */
  const liftInterval = (expert: number, part_D: Float64Array, whole_D: Float64Array, whole_G: Float64Array) => {
    const chosen_D = chosen_ND[expert] as Float64Array
    return intervalOf(
      draws,
      part_D.map((part, d) => ratio(part * (tokens_D[d] as number), (whole_D[d] as number) * (chosen_D[d] as number))),
      whole_G,
    )
  }
  const domainParts = domains.map(({ name, groups }) => {
    const whole_G = tokens_G.map((count, group) => (groups.includes(group) ? count : 0))
    return { name, groups, whole_G, whole: sumOf(whole_G), whole_D: draws.sums(whole_G) }
  })
  return Array.from(chosen_N, (chosen, expert): ExpertAtlas => {
    const lift = (part: number, whole: number) => (chosen > 0 ? part / whole / (chosen / tokens) : 0)
    const chosen_D = chosen_ND[expert] as Float64Array
    return {
      expert,
      tokens: chosen,
      share: chosen / tokens,
      interval: intervalOf(
        draws,
        chosen_D.map((drawn, d) => ratio(drawn, tokens_D[d] as number)),
        tokens_G,
      ),
      load: mean > 0 ? chosen / mean : 0,
      drop_rate: chosen > 0 ? (dropped_N[expert] as number) / chosen : 0,
      gate_mean: chosen > 0 ? (gate_N[expert] as number) / chosen : null,
      token_share: tokenShare[expert] ?? null,
      top: (listing.tokens[expert] ?? []).map(({ kind, tokens: count, tokens_G: part_G }) => {
        const whole = text.counts.occurrences[kind] as number
        const whole_G = text.listings.occurrences.get(kind) as Float64Array
        const whole_D = text.occurrences_D.get(kind) ?? draws.sums(whole_G)
        text.occurrences_D.set(kind, whole_D)
        return {
          token: text.counts.ids[kind] as number,
          text: text.counts.texts[kind] as string,
          tokens: count,
          share: count / whole,
          lift: lift(count, whole),
          interval: liftInterval(expert, draws.sums(part_G), whole_D, whole_G),
        }
      }),
      domains: domainParts.map(({ name, groups, whole, whole_D, whole_G }) => {
        const part_G = ofGroups(counts, expert, groups)
        const part = sumOf(part_G)
        const interval = chosen > 0 ? liftInterval(expert, draws.sums(part_G), whole_D, whole_G) : null
        return { name, tokens: part, share: part / whole, lift: lift(part, whole), interval }
      }),
      partners: listing.pairs
        .filter(({ experts }) => experts.includes(expert))
        .map(({ experts: [a, b], together, expected, together_G }) => {
          // The factor between independence and the number by chance is held fixed in the draws.
          const factor = ((chosen_N[a] as number) * (chosen_N[b] as number)) / tokens / expected
          const both_D = draws.sums(together_G)
          const lifts = both_D.map(
            (both, d) =>
              factor *
              ratio(both * (tokens_D[d] as number), (chosen_ND[a]?.[d] as number) * (chosen_ND[b]?.[d] as number)),
          )
          return {
            expert: a === expert ? b : a,
            tokens: together,
            lift: together / expected,
            interval: intervalOf(draws, lifts, ofGroups(counts, expert)),
          }
        })
        .sort((one, other) => other.lift - one.lift || one.expert - other.expert),
    }
  })
}

/** Choices of an expert in each group of documents [G]; 0 in groups that are left out. */
function ofGroups({ router, chosen_GN }: RouterCounts, expert: number, only?: readonly number[]): Float64Array {
  const groups = chosen_GN.length / router.experts
  return Float64Array.from({ length: groups }, (_, group) =>
    only && !only.includes(group) ? 0 : (chosen_GN[group * router.experts + expert] as number),
  )
}

/** A draw without tokens has no ratio. */
const ratio = (part: number, whole: number): number => (whole > 0 ? part / whole : Number.NaN)

const intervalOf = (draws: TextDraws, values_D: Float64Array, base_G: Float64Array): Interval | null =>
  draws.interval(values_D, base_G)?.interval ?? null
