/**
 * The distribution of tokens over experts, and the work of a rank that follows from it.
 *
 * A step ends when its slowest rank is done: the rank whose experts together get the most tokens. Loads are multiples
 * of the mean, by layer and expert, *before* capacity. The capacity rule decides which assignments are kept. A padded
 * expert then computes all of its slots, a ragged expert only the rows that it keeps.
 */
import gammaQuantile from '@stdlib/stats-base-dists-gamma-quantile'
import type { MoeConfig } from '../../../core/model/config/moe-config.ts'
import { activatedExperts, type RoutedModule } from '../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { capacityOf as groupCapacity } from '../../../core/model/routing/capacity.ts'
import { randomFor } from '../../../core/random.ts'
import { expectedMaximum, keptTokens, type Moments } from './chance.ts'

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
  /** Mean number of tokens that the micro-batch of a rank sends to an expert, before capacity. */
  readonly tokensPerExpert: number
  /** Coefficient of variation (standard deviation / mean) of these numbers over the experts: of the loads, and by chance. */
  readonly cv: number
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

export interface LoadOptions {
  /** Whether every slot is computed, as one-hot dispatch always does; default: as `model.moe.compute`. */
  readonly padded?: boolean
  /**
   * Whether each token chooses at random, with the loads as probabilities. The results are then expectations: of kept
   * rows, and of the rows of the busiest rank. Default: experts get exactly their loads.
   */
  readonly sampled?: boolean
}

/**
 * @param loads loads of the layer's experts
 * @param ranks number of ranks that hold the experts, in equal parts and in order
 * @param tokens tokens of one rank's micro-batch; loads are the same for the tokens of every rank
 */
export function rankLoad(
  moe: MoeConfig,
  loads: ExpertLoads,
  ranks: number,
  tokens: number,
  { padded = isPadded(moe), sampled = false }: LoadOptions = {},
): RankLoad {
  const capacity = capacityOf(moe, tokens)
  const expertsChoose = moe.router === 'expert-choice'
  const assignments = activatedExperts(moe) * tokens
  const mean = assignments / moe.experts
  const perRank = moe.experts / ranks
  const isRandom = sampled && !expertsChoose
  const keptOf = rowsKept(moe, tokens, isRandom)
  const rows = Array.from({ length: ranks }, (_, rank) => {
    const own = Array.from({ length: perRank }, (_, i) => keptOf(loads[rank * perRank + i] ?? 0))
    return { mean: sum(own, (each) => each.mean), variance: sum(own, ({ variance }) => variance) }
  })
  const kept = sum(rows, (each) => each.mean)
  const slots = capacity * perRank
  const computed = padded ? slots : Math.min(slots, busiestRows(rows, moe.experts))
  return {
    rows: ranks * computed,
    dropped: expertsChoose ? 0 : Math.max(0, 1 - kept / assignments),
    padding: padded ? 1 - kept / (slots * ranks) : 0,
    imbalance: padded || kept === 0 ? 1 : (computed * ranks) / kept,
    isPadded: padded,
    tokensPerExpert: mean,
    cv: expertsChoose || mean === 0 ? 0 : cvOfTokens(loads, mean, isRandom ? tokens : undefined),
  }
}

/** Rows of a rank's micro-batch that an expert with a load keeps, over all groups of tokens. */
function rowsKept(moe: MoeConfig, tokens: number, isRandom: boolean): (load: number) => Moments {
  const capacity = capacityOf(moe, tokens)
  const mean = (activatedExperts(moe) * tokens) / moe.experts
  if (moe.router === 'expert-choice') return () => ({ mean: capacity, variance: 0 })
  if (!isRandom) return (load) => ({ mean: Math.min(load * mean, capacity), variance: 0 })
  const { groups } = moe
  const known = new Map<number, Moments>()
  return (load) => {
    const ofGroup = known.get(load) ?? keptTokens(tokens / groups, (load * mean) / tokens, capacity / groups)
    known.set(load, ofGroup)
    return { mean: groups * ofGroup.mean, variance: groups * ofGroup.variance }
  }
}

/**
 * Expected rows that the busiest rank gets from each rank, on average over the ranks that send.
 *
 * The tokens of the N experts add up to a fixed number, so they are not independent. They vary like independent numbers
 * with N/(N − 1) times the variance from which the mean of all is subtracted, and that leaves the expected maximum as it
 * is.
 *
 * @param rows rows of each rank from the micro-batch of one rank
 */
function busiestRows(rows: readonly Moments[], experts: number): number {
  const ranks = rows.length
  const factor = experts > 1 ? experts / (experts - 1) : 1
  const fromAll = rows.map(({ mean, variance }) => ({ mean: ranks * mean, variance: ranks * factor * variance }))
  return expectedMaximum(fromAll) / ranks
}

/** @param tokens tokens that choose at random; undefined if experts get exactly their loads */
function cvOfTokens(loads: ExpertLoads, mean: number, tokens: number | undefined): number {
  const squares = loads.map((load) => {
    const expected = load * mean
    const byChance = tokens === undefined ? 0 : Math.max(0, expected * (1 - expected / tokens))
    return (expected - mean) ** 2 + byChance
  })
  return Math.sqrt(sum(squares, (square) => square) / loads.length) / mean
}

const sum = <Value>(values: readonly Value[], number: (value: Value) => number): number =>
  values.reduce((total, value) => total + number(value), 0)
