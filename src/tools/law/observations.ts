/**
 * Observations that a law is fitted to. Runs of a seed share their text and its order, so an arm with experts is
 * observed by its loss relative to the dense run of the same size, tokens and seed. Only dense runs are observed by
 * their loss itself.
 */
import type { Point } from './joint-law.ts'

/** A run with experts and the dense run that it is paired with. */
export interface Pair extends Point {
  readonly seed: number
  /** Held-out losses, nats a token. */
  readonly dense: number
  readonly loss: number
}

/** The mean over seeds at a point. */
export interface Observation extends Point {
  /** Mean logarithm of the dense loss, or, for an arm with experts, of its loss divided by the dense loss. */
  readonly log: number
  /** Mean loss of the dense model, nats a token. */
  readonly dense: number
  readonly seeds: number
}

export interface Observations {
  readonly dense: readonly Observation[]
  readonly arms: readonly Observation[]
  /** Standard deviation over seeds of the differences in loss to dense, pooled over all points; nats a token. */
  readonly deviation: number
}

/** @param without Seed to leave out. */
export function observe(pairs: readonly Pair[], without?: number): Observations {
  const used = pairs.filter(({ seed }) => seed !== without)
  const arms = grouped(used, ({ active, tokens, experts }) => `${active} ${tokens} ${experts}`)
  // A dense run is in the pairs of several arms, but counts once.
  const dense = grouped(distinct(used), ({ active, tokens }) => `${active} ${tokens}`)
  return {
    dense: dense.map((runs) => ({ ...meanOf(runs, (run) => Math.log(run.dense)), experts: 1 })),
    arms: arms.map((runs) => meanOf(runs, ({ loss, dense }) => Math.log(loss / dense))),
    deviation: pooledDeviation(arms.map((runs) => runs.map(({ loss, dense }) => loss - dense))),
  }
}

export const seedsOf = (pairs: readonly Pair[]): number[] => [...new Set(pairs.map(({ seed }) => seed))]

function meanOf(pairs: readonly Pair[], log: (pair: Pair) => number): Observation {
  const { active, tokens, experts } = pairs[0] as Pair
  const dense = mean(pairs.map((pair) => pair.dense))
  return { active, tokens, experts, log: mean(pairs.map(log)), dense, seeds: pairs.length }
}

const distinct = (pairs: readonly Pair[]): Pair[] => [
  ...new Map(pairs.map((pair) => [`${pair.active} ${pair.tokens} ${pair.seed}`, pair])).values(),
]

/** Standard deviation within groups, pooled over all groups; zero if no group has two values. */
function pooledDeviation(groups: readonly (readonly number[])[]): number {
  const freedom = groups.reduce((sum, values) => sum + values.length - 1, 0)
  const squares = groups.map((values) => values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0))
  return freedom === 0 ? 0 : Math.sqrt(squares.reduce((a, b) => a + b, 0) / freedom)
}

export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

function grouped<T>(values: readonly T[], key: (value: T) => string): T[][] {
  const groups = new Map<string, T[]>()
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) ?? []), value])
  return [...groups.values()]
}
