/**
 * The distribution of tokens over experts, and the work of a rank that follows from it.
 *
 * A step ends when its slowest rank is done: the rank whose experts together get the most tokens. Loads are multiples
 * of the mean, by layer and expert, *before* capacity. The capacity rule decides which assignments are kept. A padded
 * expert then computes all of its slots, a ragged expert only the rows that it keeps.
 */
import gammaQuantile from '@stdlib/stats-base-dists-gamma-quantile'
import type { ModelConfig } from '../../../core/model/config.ts'
import type { MoeConfig } from '../../../core/model/moe-config.ts'
import { activatedExperts, type RoutedModule } from '../../../core/model/parameters.ts'
import { capacityOf as groupCapacity } from '../../../core/model/routing/capacity.ts'
import { randomFor } from '../../../train/step/random.ts'

/** Number of tokens routed to each expert, divided by the mean over the layer's experts; so the mean is 1. */
export type ExpertLoads = readonly number[]

/** The loads of a routed module of a layer. */
export type ModelLoads = (layer: number, module: RoutedModule) => ExpertLoads

/** Loads that give every expert the same number of tokens. A dense model has no loads. */
export function balancedLoads({ moe }: Pick<ModelConfig, 'moe'>): ModelLoads {
  const even = new Array<number>(moe?.experts ?? 0).fill(1)
  return () => even
}

/**
 * Loads with a given coefficient of variation: quantiles of a gamma distribution of mean 1, assigned to the
 * experts of a module in random order. (A gamma distribution is positive, and ranges from even loads to a few
 * experts that get everything.)
 */
export function loadsWithCv(moe: MoeConfig, cv: number): ModelLoads {
  if (cv === 0) return balancedLoads({ moe })
  const quantiles = gammaQuantiles(moe.experts, cv)
  const cache = new Map<string, ExpertLoads>()
  return (layer, module) => {
    const name = `${layer}.${module}`
    const loads = cache.get(name) ?? shuffled(quantiles, name)
    cache.set(name, loads)
    return loads
  }
}

/** The loads in a random order that depends only on the name. */
export function shuffled(loads: ExpertLoads, name: string): ExpertLoads {
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

/** `count` quantiles of the distribution of `loads`, interpolated and scaled to mean 1. */
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

/** Work of a rank of an expert-parallel group in one layer, for one micro-batch. */
export interface RankLoad {
  /** Rows that the slowest rank receives and computes, empty slots of padded buffers included. */
  readonly rows: number
  /** Share of all assignments that are dropped because their expert is full. */
  readonly dropped: number
  /** Share of the computed rows, over all ranks, that hold no token. */
  readonly padding: number
  /** Rows of the slowest rank, divided by the mean of all ranks. */
  readonly imbalance: number
  /** Whether every slot is computed. */
  readonly isPadded: boolean
}

/**
 * Number of slots of an expert for the tokens of one rank: the capacity C of docs/routing.md for each of the
 * `model.moe.groups` of the micro-batch, which is at most one slot per token.
 */
export function capacityOf(moe: MoeConfig, tokens: number): number {
  if (moe.capacity === 'none') return Number.POSITIVE_INFINITY
  const group = tokens / moe.groups
  return moe.groups * (groupCapacity(moe, group, 'train') ?? group)
}

/** Whether all slots are computed (`model.moe.compute`; `auto` is padded for capacity 1x). */
const isPadded = ({ compute, capacity }: MoeConfig): boolean =>
  capacity !== 'none' && (compute === 'padded' || (compute === 'auto' && capacity === '1x'))

/**
 * @param loads loads of the layer's experts
 * @param ranks number of ranks that hold the experts, in equal parts and in order
 * @param tokens tokens of one rank's micro-batch; loads are the same for the tokens of every rank
 * @param padded whether every slot is computed, as one-hot dispatch always does
 */
export function rankLoad(
  moe: MoeConfig,
  loads: ExpertLoads,
  ranks: number,
  tokens: number,
  padded = isPadded(moe),
): RankLoad {
  const capacity = capacityOf(moe, tokens)
  const expertsChoose = moe.router === 'expert-choice'
  const assignments = activatedExperts(moe) * tokens
  const mean = assignments / moe.experts
  const perRank = moe.experts / ranks
  let kept = 0
  let maxRows = 0
  for (let rank = 0; rank < ranks; rank++) {
    let rows = 0
    for (let e = rank * perRank; e < (rank + 1) * perRank; e++)
      rows += expertsChoose ? capacity : Math.min((loads[e] ?? 0) * mean, capacity)
    kept += rows
    maxRows = Math.max(maxRows, rows)
  }
  const slots = capacity * perRank
  return {
    rows: ranks * (padded ? slots : maxRows),
    dropped: expertsChoose ? 0 : Math.max(0, 1 - kept / assignments),
    padding: padded ? 1 - kept / (slots * ranks) : 0,
    imbalance: padded || kept === 0 ? 1 : (maxRows * ranks) / kept,
    isPadded: padded,
  }
}
