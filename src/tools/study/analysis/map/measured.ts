/** The measured lines of a map: for a size and a number of experts, the difference to the dense model by tokens. */
import { group } from 'd3-array'
import { fallsBelowZero } from '../../../law/forecast.ts'
import { type Estimate, estimateMean } from '../../statistics.ts'
import type { MapPair } from './pairs.ts'

export interface MapLine {
  readonly active: number
  readonly experts: number
  /** Parameters of the model with experts, all experts counted. */
  readonly parameters: number
  /** Points by rising tokens. */
  readonly points: readonly MapPoint[]
}

export interface MapPoint {
  readonly tokens: number
  /** Loss with experts minus loss of the dense model, over seeds. */
  readonly estimate: Estimate
}

/** The lines of pairs, sorted by size, then by number of experts. */
export function linesOf(pairs: readonly MapPair[]): MapLine[] {
  const lines = [...group(pairs, ({ active, experts }) => `${active} ${experts}`).values()].flatMap(
    (own): MapLine[] => {
      const [first] = own
      if (!first) return []
      const points = [...group(own, ({ tokens }) => tokens)].flatMap(([tokens, pairs]): MapPoint[] => {
        const differences = pairs.map(({ loss, dense }) => loss - dense)
        const isWaiting = pairs.some(({ intervals }) => intervals === 'anytime')
        const estimate = estimateMean(differences, isWaiting ? 'anytime' : 'student')
        return estimate ? [{ tokens, estimate }] : []
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
  const last = points.findLastIndex(({ estimate: { interval } }) => !interval || interval[1] >= 0)
  return points[last + 1]?.tokens ?? null
}

/** Tokens from which on a line is below zero, interpolated in ln tokens; 0 if it always is, null if its end is not. */
export const measuredBreakEven = ({ points }: MapLine): number | null =>
  fallsBelowZero(
    points.map(({ tokens }) => tokens),
    points.map(({ estimate }) => estimate.mean),
  )
