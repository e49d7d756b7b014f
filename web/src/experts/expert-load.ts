/**
 * The load of an expert. All loads are relative to the mean load of the router before drops, over all experts of all
 * prototypes: 1 is the fair share. Kept loads are divided by the same mean, so that loads before and after drops can be
 * compared cell by cell.
 */
import { percent } from '../../../src/core/text/numbers.ts'

/** Load over mean from which an expert gets more than usual capacity factors admit. */
export const OVERLOADED_FROM = 2

export const UNMARKED = 0
export const DEAD = 1
export const OVERLOADED = 2

/** Loads before drops, or after drops. */
export const loadKinds = ['before', 'after'] as const
export type LoadKind = (typeof loadKinds)[number]

export interface Load {
  /** Assignments before drops, and kept assignments. */
  readonly tokens: number
  readonly kept: number
  /** Loads over the mean before drops; 0 if nothing was assigned at all. */
  readonly overMean: number
  readonly keptOverMean: number
  /** Share of all assignments of the router. */
  readonly share: number
  /** Share of the assignments to this expert that were dropped. */
  readonly dropRate: number
}

/**
 * The load of an expert.
 * @param loads Loads before drops [width], then kept loads [width], from `offset` on
 * @param experts Number of experts of the router, at most `width`
 */
export function loadOf(loads: Float32Array, offset: number, width: number, experts: number, expert: number): Load {
  const tokens = loads[offset + expert] ?? 0
  const kept = loads[offset + width + expert] ?? 0
  const mean = meanLoad(loads, offset, experts)
  const over = (count: number) => (mean > 0 ? count / mean : 0)
  return {
    tokens,
    kept,
    overMean: over(tokens),
    keptOverMean: over(kept),
    share: over(tokens) / experts,
    dropRate: tokens > 0 ? 1 - kept / tokens : 0,
  }
}

export function meanLoad(loads: Float32Array, offset: number, experts: number): number {
  let sum = 0
  for (let expert = 0; expert < experts; expert++) sum += loads[offset + expert] ?? 0
  return sum / experts
}

/** Marks depend on the load before drops, even if loads after drops are shown. */
export function markOf(tokens: number, mean: number): number {
  if (tokens === 0) return DEAD
  return tokens >= OVERLOADED_FROM * mean ? OVERLOADED : UNMARKED
}

/** Text for screen readers: `1.8 times the mean, 12 % dropped`. */
export function describeLoad({ tokens, overMean, dropRate }: Load): string {
  if (tokens === 0) return 'dead, no tokens'
  const dropped = dropRate > 0 ? `${percent(dropRate)} dropped` : 'none dropped'
  return `${overMean.toFixed(1)} times the mean, ${dropped}${overMean >= OVERLOADED_FROM ? ', overloaded' : ''}`
}
