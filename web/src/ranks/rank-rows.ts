/**
 * Rows of the table of ranks: shares of the time of a step, loads over their mean, and how a rank differs from the
 * others.
 */
import { processName } from '../../../src/core/text/rank-name.ts'
import type { RanksOfSteps } from '../../../src/faces/watch/api.ts'

/** Parts of a step, in the order of their bars. */
export const parts = ['compute', 'allToAll', 'allReduce', 'wait'] as const
export type Part = (typeof parts)[number]

export const partNames: Readonly<Record<Part, string>> = {
  compute: 'Computing',
  allToAll: 'All-to-all',
  allReduce: 'All-reduce',
  wait: 'Waiting',
}

export interface RankRow {
  readonly rank: number
  /** `node7 · 4711`; empty if unknown. */
  readonly process: string
  readonly host: string
  /** Milliseconds of each part. */
  readonly times: Readonly<Record<Part, number>>
  readonly step: number
  /** Mean over the other ranks of the time that they wait for this one, ms. */
  readonly waitedFor: number
  /** Assignments of the rank over the mean of all ranks; null if every rank has all experts. */
  readonly load: number | null
  /** Ratio of the time of computing to the median of the other ranks. */
  readonly computeOverOthers: number
}

export interface RankTable {
  readonly rows: readonly RankRow[]
  /** The longest step of a rank, ms. */
  readonly longest: number
  /** Mean over ranks of the step, ms, and shares of its parts. */
  readonly step: number
  readonly shares: Readonly<Record<Part, number>>
  readonly maxLoad: number | null
  readonly slowest: RankRow | null
}

/** Limits beyond which a rank is slow, the same as in the warnings of a training (`src/train/loop/slow-rank.ts`). */
const [SLOW, COSTLY] = [1.25, 0.05]

export function rankTable(ranks: RanksOfSteps): RankTable {
  const kept = ranks.kept.map((count) => count ?? 0)
  const isShared = ranks.kept.some((count) => count !== null)
  const rows = ranks.compute.map((_, rank): RankRow => {
    const times = Object.fromEntries(parts.map((part) => [part, ranks[part][rank] ?? 0])) as Record<Part, number>
    const { host = '' } = ranks.roster[rank] ?? {}
    return {
      rank,
      host,
      process: processName(ranks.roster[rank] ?? {}),
      times,
      step: sum(parts.map((part) => times[part])),
      waitedFor: ranks.waitedFor[rank] ?? 0,
      load: isShared && sum(kept) > 0 ? ((kept[rank] as number) * kept.length) / sum(kept) : null,
      computeOverOthers: ranks.computeOverOthers[rank] ?? 1,
    }
  })
  const total = sum(rows.map(({ step }) => step))
  const step = total / rows.length
  const share = (part: Part) => (total > 0 ? sum(rows.map(({ times }) => times[part])) / total : 0)
  const slowest = rows.reduce((a, b) => (b.times.compute > a.times.compute ? b : a))
  const isSlow = slowest.computeOverOthers > SLOW && slowest.waitedFor >= COSTLY * step
  const loads = rows.flatMap(({ load }) => (load === null ? [] : [load]))
  return {
    rows,
    longest: Math.max(...rows.map(({ step }) => step)),
    step,
    shares: {
      compute: share('compute'),
      allToAll: share('allToAll'),
      allReduce: share('allReduce'),
      wait: share('wait'),
    },
    maxLoad: loads.length > 0 ? Math.max(...loads) : null,
    slowest: isSlow ? slowest : null,
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
