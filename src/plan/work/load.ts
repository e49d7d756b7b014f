/**
 * How tokens fall on experts, and what that makes of the work of a rank.
 *
 * A step lasts until its slowest rank is done, so what counts is the rank whose experts together get the most.
 * Loads are shares of the mean, by layer and expert. They say how assignments fall *before* capacity; the
 * capacity rule then says what is kept, and how the experts are computed says what is paid for: a padded expert
 * computes all of its slots, a ragged one the rows that it keeps.
 */
import gammaQuantile from '@stdlib/stats-base-dists-gamma-quantile'
import type { MoeConfig } from '../../model/config.ts'
import { activatedExperts, type RoutedModule } from '../../model/parameters.ts'
import { capacityOf as groupCapacity } from '../../model/routing/capacity.ts'
import { randomFor } from '../../step/random.ts'

/** Tokens that chose an expert, over the mean of all experts of its layer; the mean is 1. */
export type ExpertLoads = readonly number[]

/** The loads of a routed module of a layer. */
export type ModelLoads = (layer: number, module: RoutedModule) => ExpertLoads

/** Every expert is chosen equally often. */
export function balancedLoads({ experts }: MoeConfig): ModelLoads {
  const even = new Array<number>(experts).fill(1)
  return () => even
}

/**
 * Loads with a given coefficient of variation: the quantiles of a gamma distribution of that mean and deviation,
 * dealt to the experts of a module at random. (A gamma distribution is positive, and goes from even loads to a
 * few experts that get all.)
 */
export function loadsWithCv(moe: MoeConfig, cv: number): ModelLoads {
  if (cv === 0) return balancedLoads(moe)
  const quantiles = gammaQuantiles(moe.experts, cv)
  const known = new Map<string, ExpertLoads>()
  return (layer, module) => {
    const name = `${layer}.${module}`
    const loads = known.get(name) ?? dealt(quantiles, name)
    known.set(name, loads)
    return loads
  }
}

/** In a random order that depends on the name alone. */
export function dealt(loads: ExpertLoads, name: string): ExpertLoads {
  const random = randomFor(0, 'plan', 'load', name)
  return loads
    .map((load) => ({ load, at: random.uniform() }))
    .sort((a, b) => a.at - b.at)
    .map(({ load }) => load)
}

function gammaQuantiles(count: number, cv: number): ExpertLoads {
  const shape = 1 / cv ** 2
  return withMeanOne(Array.from({ length: count }, (_, i) => gammaQuantile((i + 0.5) / count, shape, shape)))
}

/** As many quantiles of the distribution of `loads`, interpolated. */
export function quantilesOf(loads: ExpertLoads, count: number): ExpertLoads {
  const sorted = [...loads].sort((a, b) => a - b)
  return withMeanOne(
    Array.from({ length: count }, (_, i) => {
      const at = Math.min(Math.max(((i + 0.5) / count) * sorted.length - 0.5, 0), sorted.length - 1)
      const below = sorted[Math.floor(at)] ?? 1
      return below + (at % 1) * ((sorted[Math.ceil(at)] ?? below) - below)
    }),
  )
}

function withMeanOne(loads: readonly number[]): ExpertLoads {
  const mean = loads.reduce((a, b) => a + b, 0) / loads.length
  return loads.map((load) => (mean > 0 ? load / mean : 1))
}

/** What a rank of an expert-parallel group has to do in one layer, for one micro-batch. */
export interface RankLoad {
  /** Rows that the slowest rank receives and computes: padded buffers whole, with their empty slots. */
  readonly rows: number
  /** Share of all assignments that find their expert full. */
  readonly dropped: number
  /** Share of the rows computed by all ranks that hold no token. */
  readonly padding: number
  /** Rows of the slowest rank over the mean of all ranks. */
  readonly imbalance: number
}

/**
 * Slots of an expert for the tokens of one rank, whose micro-batch is cut into `model.moe.groups`: C of
 * docs/routing.md for each of them; at most a slot a token.
 */
export function capacityOf(moe: MoeConfig, tokens: number): number {
  if (moe.capacity === 'none') return Number.POSITIVE_INFINITY
  const group = tokens / moe.groups
  return moe.groups * (groupCapacity(moe, group, 'train') ?? group)
}

/** Whether all slots are computed: what `model.moe.compute` says, `auto` meaning padded for capacity 1x. */
const isPadded = ({ compute, capacity }: MoeConfig): boolean =>
  capacity !== 'none' && (compute === 'padded' || (compute === 'auto' && capacity === '1x'))

/**
 * @param loads of the layer's experts
 * @param ranks that share out the experts, in order of the experts' numbers
 * @param tokens of one rank's micro-batch; loads are the same for the tokens of every rank
 * @param padded whether every slot is computed; products with one-hot matrices always make all
 */
export function rankLoad(
  moe: MoeConfig,
  loads: ExpertLoads,
  ranks: number,
  tokens: number,
  padded = isPadded(moe),
): RankLoad {
  const capacity = capacityOf(moe, tokens)
  const chooses = moe.router === 'expert-choice'
  const assignments = activatedExperts(moe) * tokens
  const mean = assignments / moe.experts
  const perRank = moe.experts / ranks
  let kept = 0
  let most = 0
  for (let rank = 0; rank < ranks; rank++) {
    let rows = 0
    for (let e = rank * perRank; e < (rank + 1) * perRank; e++)
      rows += chooses ? capacity : Math.min((loads[e] ?? 0) * mean, capacity)
    kept += rows
    most = Math.max(most, rows)
  }
  const slots = capacity * perRank
  return {
    rows: ranks * (padded ? slots : most),
    dropped: chooses ? 0 : Math.max(0, 1 - kept / assignments),
    padding: padded ? 1 - kept / (slots * ranks) : 0,
    imbalance: padded || kept === 0 ? 1 : (most * ranks) / kept,
  }
}
