/**
 * The second pass over a record: the counts by group of documents of what the atlas lists, for their intervals. Counts of
 * everything by group would take too much memory; what is listed is known only after the first pass.
 */

import type { RoutedToken } from '../../../node/routes/format.ts'
import { typicalTokens } from '../../../use/infer/top-tokens.ts'
import type { RecordCounts, RouterCounts } from './counts.ts'
import { togetherByChance } from './together.ts'

/** Number of tokens and of partners that are listed for an expert. */
const LISTED = { tokens: 12, partners: 5 }

/** A pair of experts, the first below the second, with the number of common tokens that is expected by chance. */
export interface ListedPair {
  readonly experts: readonly [number, number]
  readonly together: number
  readonly expected: number
  /** Common tokens in each group of documents. */
  readonly together_G: Float64Array
}

export interface ListedToken {
  readonly kind: number
  readonly tokens: number
  /** Occurrences that chose the expert, in each group of documents. */
  readonly tokens_G: Float64Array
}

/** The listed tokens and pairs of a router. */
export class RouterListing {
  /** By expert. */
  readonly tokens: readonly (readonly ListedToken[])[]
  readonly pairs: readonly ListedPair[]
  private readonly tokenAt = new Map<number, ListedToken>()
  private readonly pairAt = new Map<number, ListedPair>()
  private readonly experts: number

  constructor(counts: RouterCounts, { occurrences, tokens_G }: RecordCounts) {
    const { experts } = counts.router
    const table = counts.table(occurrences.length)
    const groups = tokens_G.length
    this.experts = experts
    this.tokens = typicalTokens(table, LISTED.tokens).map((listed) =>
      listed.map(({ token: kind, count }) => ({ kind, tokens: count, tokens_G: new Float64Array(groups) })),
    )
    for (const [expert, listed] of this.tokens.entries())
      for (const token of listed) this.tokenAt.set(token.kind * experts + expert, token)
    const tokens = occurrences.reduce((sum, count) => sum + count, 0)
    this.pairs = listedPairs(counts, tokens, groups)
    for (const pair of this.pairs) this.pairAt.set(pair.experts[0] * experts + pair.experts[1], pair)
  }

  add(experts: readonly number[], kind: number, group: number): void {
    for (const [i, expert] of experts.entries()) {
      const token = this.tokenAt.get(kind * this.experts + expert)
      if (token) token.tokens_G[group] = (token.tokens_G[group] as number) + 1
      for (let j = 0; j < i; j++) {
        const other = experts[j] as number
        const pair = this.pairAt.get(Math.min(expert, other) * this.experts + Math.max(expert, other))
        if (pair) pair.together_G[group] = (pair.together_G[group] as number) + 1
      }
    }
  }
}

/** The pairs that are the most surprising for one of their experts: those with the largest (n − m) / √m. */
function listedPairs({ router, chosen_N, together_NN }: RouterCounts, tokens: number, groups: number): ListedPair[] {
  const { experts } = router
  const expected = togetherByChance(router, chosen_N, tokens)
  const found = new Map<number, ListedPair>()
  for (let expert = 0; expert < experts; expert++) {
    const surprising: { readonly at: number; readonly score: number }[] = []
    for (let other = 0; other < experts; other++) {
      const at = Math.min(expert, other) * experts + Math.max(expert, other)
      const [together, chance] = [together_NN[at] as number, expected[at] as number]
      if (other !== expert && together > chance && chance > 0)
        surprising.push({ at, score: (together - chance) / Math.sqrt(chance) })
    }
    surprising.sort((a, b) => b.score - a.score || a.at - b.at)
    for (const { at } of surprising.slice(0, LISTED.partners))
      found.set(at, {
        experts: [Math.floor(at / experts), at % experts],
        together: together_NN[at] as number,
        expected: expected[at] as number,
        together_G: new Float64Array(groups),
      })
  }
  return [...found.values()]
}

/** The listings of all routers, with the occurrences of listed tokens in each group of documents. */
export class Listings {
  readonly routers: readonly RouterListing[]
  readonly occurrences = new Map<number, Float64Array>()
  private readonly counts: RecordCounts

  constructor(counts: RecordCounts) {
    this.counts = counts
    this.routers = counts.routers.map((router) => new RouterListing(router, counts))
    for (const { tokens } of this.routers)
      for (const { kind } of tokens.flat())
        if (!this.occurrences.has(kind)) this.occurrences.set(kind, new Float64Array(counts.tokens_G.length))
  }

  add({ token, routes }: RoutedToken, group: number): void {
    const kind = this.counts.kindOf(token)
    const occurrences = this.occurrences.get(kind)
    if (occurrences) occurrences[group] = (occurrences[group] as number) + 1
    for (const [i, { experts }] of routes.entries()) this.routers[i]?.add(experts, kind, group)
  }
}
