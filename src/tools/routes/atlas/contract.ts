/** The contents of `atlas.json`: what every expert of a record takes. docs/routes.md describes the fields. */

import type { RecordedRouter, RoutesHeader } from '../../../node/routes/format.ts'
import type { Ablation, ExpertAblation } from '../ablation.ts'

/** Version of the file. It increases when a field is renamed, removed or changes its meaning; fields may be added. */
export const ATLAS_FORMAT = 1

export interface Atlas {
  readonly kind: 'atlas'
  readonly format: typeof ATLAS_FORMAT
  readonly record: Pick<RoutesHeader, 'model' | 'text' | 'capacity' | 'loss'>
  readonly tokens: number
  readonly documents: number
  /** Number of groups of documents that the intervals are drawn from. */
  readonly groups: number
  readonly confidence: number
  readonly domains: readonly { readonly name: string; readonly documents: number; readonly tokens: number }[]
  /** On what the ablation of experts was measured; absent if it was not. */
  readonly ablation?: Pick<Ablation, 'tokens' | 'batches' | 'loss'>
  readonly routers: readonly RouterAtlas[]
}

export interface RouterAtlas extends Pick<RecordedRouter, 'layer' | 'module' | 'experts' | 'prototypes' | 'choices'> {
  /** c_v of the loads, and the largest load over the mean. */
  readonly load_cv: number
  readonly max_over_mean: number
  /** Share of choices that a full expert refused. */
  readonly drop_rate: number
  /** Mean entropy of the router, nats, and its share of the largest possible; null for a router without weights. */
  readonly entropy: number | null
  readonly entropy_share: number | null
  /** Share of the choices of experts that the token alone decides; null if no expert is chosen for only some tokens. */
  readonly token_share: number | null
  /** Experts that no token chose. */
  readonly dead: readonly number[]
  /** Pairs of experts that are chosen for the same tokens, with the Jaccard index of these tokens. */
  readonly duplicates: readonly { readonly experts: readonly [number, number]; readonly jaccard: number }[]
  /** c_v of the loads by the tokens of each domain, in the order of the domains. */
  readonly domain_load_cv: readonly number[]
  readonly of: readonly ExpertAtlas[]
}

/** A number of tokens of an expert, and its lift: how many times as often as on average the expert takes them. */
export interface Lift {
  readonly tokens: number
  readonly lift: number
  /** 95 % interval over documents; null for too few of them. */
  readonly interval: readonly [low: number, high: number] | null
}

export interface ExpertAtlas {
  readonly expert: number
  /** Number of tokens that chose the expert, and their share of all tokens with its interval. */
  readonly tokens: number
  readonly share: number
  readonly interval: readonly [low: number, high: number] | null
  /** The share over the mean of all experts of the router. */
  readonly load: number
  readonly drop_rate: number
  readonly gate_mean: number | null
  /** As `token_share` of the router, for this expert alone. */
  readonly token_share: number | null
  /** The tokens that are most typical of the expert; `share` is the share of their occurrences. */
  readonly top: readonly (Lift & { readonly token: number; readonly text: string; readonly share: number })[]
  /**
   * Nats a token that the loss rises without the expert, with its 95 % interval over batches; absent if this was not
   * measured.
   */
  readonly ablation?: ExpertAblation
  /** Every domain; `share` is the share of the tokens of the domain. */
  readonly domains: readonly (Lift & { readonly name: string; readonly share: number })[]
  /** Experts that are chosen for the same tokens more often than by chance. */
  readonly partners: readonly (Lift & { readonly expert: number })[]
}
