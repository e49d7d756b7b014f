/** The measured lines of a map: for a size and a number of experts, the difference to the dense model by tokens. */
import { group } from 'd3-array'
import { fallsBelowZero } from '../../../law/forecast.ts'
import type { Interval } from '../../statistics.ts'
import { estimateMean } from '../../statistics.ts'
import type { MapPair } from './pairs.ts'

export interface MapLine {
  readonly active: number
  readonly experts: number
  /** Parameters of the model with experts, all experts counted. */
  readonly parameters: number
  /** Points by rising tokens; `interval` is the 95 % interval over seeds, null with one seed. */
  readonly points: readonly {
    readonly tokens: number
    readonly difference: number
    readonly interval: Interval | null
    readonly seeds: number
  }[]
}

/** The lines of pairs, sorted by size, then by number of experts. */
export function linesOf(pairs: readonly MapPair[]): MapLine[] {
  const lines = [...group(pairs, ({ active, experts }) => `${active} ${experts}`).values()].flatMap(
    (own): MapLine[] => {
      const [first] = own
      if (!first) return []
      const points = [...group(own, ({ tokens }) => tokens)].map(([tokens, pairs]) => {
        const estimate = estimateMean(pairs.map(({ loss, dense }) => loss - dense))
        return { tokens, difference: estimate?.mean ?? 0, interval: estimate?.interval ?? null, seeds: pairs.length }
      })
      return [
        {
          active: first.active,
          experts: first.experts,
          parameters: first.runs.sparse.parameters,
          points: points.toSorted((a, b) => a.tokens - b.tokens),
        },
      ]
    },
  )
  return lines.toSorted((a, b) => a.active - b.active || a.experts - b.experts)
}

/**
 * The shortest trained length, in tokens, from which on the intervals over seeds of all lengths are below zero; null if
 * the interval of the longest is not.
 */
export function clearFrom({ points }: MapLine): number | null {
  const last = points.findLastIndex(({ interval }) => !interval || interval[1] >= 0)
  return points[last + 1]?.tokens ?? null
}

/** Tokens from which on a line is below zero, interpolated in ln tokens; 0 if it always is, null if its end is not. */
export const measuredBreakEven = ({ points }: MapLine): number | null =>
  fallsBelowZero(
    points.map(({ tokens }) => tokens),
    points.map(({ difference }) => difference),
  )
