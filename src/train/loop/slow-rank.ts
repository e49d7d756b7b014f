/**
 * Finds a rank that computes longer than the others, for a warning during the training and for its summary. Every
 * other rank waits for it in every layer or at the end of the step, so a training is as fast as its slowest rank.
 */

import { maxOverMean, overOthers, sumOf } from '../../core/averages.ts'
import { fixed, percent } from '../../core/text/numbers.ts'
import { rankName } from '../../core/text/rank-name.ts'
import type { Ranks } from '../../engine/contract/ranks.ts'
import type { RanksRecord } from '../step/metrics/records.ts'
import type { RanksSummary, SlowRank } from './events.ts'

/** Number of steps between two comparisons; the mean of a rank over these steps decides whether it is slow. */
const WINDOW = 20
/** Number of longest steps of each rank that are ignored, so that a single pause does not warn. */
const LEFT_OUT = 2
/** A rank is slow if it computes more than this many times as long as the median of the other ranks. */
const SLOW = 1.25
/** A slow rank is reported only if the others wait for it for at least this share of a step. */
const COSTLY = 0.05
/** A slow rank is reported again if its time changes by this factor. */
const CHANGED = 1.25
/** Load of a slow rank, divided by the mean load, above which it explains part of the rank's time. */
const LOADED = 1.1

/** Values of each rank; `kept` is empty if every rank has all experts. */
interface Values {
  readonly step: readonly number[]
  readonly compute: readonly number[]
  readonly allToAll: readonly number[]
  readonly allReduce: readonly number[]
  readonly wait: readonly number[]
  readonly waitedFor: readonly number[]
  readonly kept: readonly number[]
}

export class SlowRanks {
  private readonly roster: Ranks['roster']
  private window: Values[] = []
  private reported: SlowRank | null = null
  /** Sums over all steps but the first, in which code is compiled. */
  private total: Values | null = null
  private steps = 0

  constructor(roster: Ranks['roster']) {
    this.roster = roster
  }

  /** @returns A warning for people, if a rank is slow and was not before. */
  add(record: RanksRecord): string | null {
    const values = valuesOf(record)
    this.total = this.steps++ > 1 && this.total ? combined([this.total, values], sumOf) : values
    this.window.push(values)
    if (this.window.length < WINDOW) return null
    const slow = this.slowest(combined(this.window, usual))
    this.window = []
    const before = this.reported
    // The last report stays the reference, so that a rank cannot become slower unnoticed in small changes.
    if (slow && before?.rank === slow.rank && isClose(before.ratio, slow.ratio)) return null
    this.reported = slow
    return slow && `${slowRankText(slow)} (over the last ${WINDOW} steps)`
  }

  /** Summary of all steps so far but the first; null before the first step. */
  summary(): RanksSummary | null {
    const { total } = this
    if (!total) return null
    const { step, compute, allToAll, allReduce, wait, kept } = total
    const share = (times: readonly number[]) => sumOf(times) / sumOf(step)
    return {
      ranks: step.length,
      compute: share(compute),
      allToAll: share(allToAll),
      allReduce: share(allReduce),
      wait: share(wait),
      load: kept.length === 0 ? null : { rank: kept.indexOf(Math.max(...kept)), maxOverMean: maxOverMean(kept) },
      slow: this.slowest(total),
    }
  }

  private slowest({ compute, step, waitedFor, kept }: Values): SlowRank | null {
    const rank = compute.indexOf(Math.max(...compute))
    const ratio = overOthers(compute, rank)
    const cost = (waitedFor[rank] as number) / (sumOf(step) / step.length)
    if (ratio <= SLOW || cost < COSTLY) return null
    const { host = '', pid = 0 } = this.roster[rank] ?? {}
    const load = kept.length === 0 ? null : ((kept[rank] as number) * kept.length) / sumOf(kept)
    return { rank, host, pid, ratio, cost, load }
  }
}

/**
 * Text such as `rank 3 (node7, PID 4711) computes 1.40 times as long as the median of the other ranks; they wait ...`
 */
export function slowRankText(slow: SlowRank): string {
  const { ratio, cost, load } = slow
  const reason = load !== null && load > LOADED ? `; its experts get ${fixed(load, 2)} times the mean of the rows` : ''
  return (
    `${rankName(slow)} computes ${fixed(ratio, 2)} times as long as the median of the other ranks; ` +
    `they wait ${percent(cost, 0)} of a step for it${reason}`
  )
}

/** The mean without the largest values. */
function usual(values: readonly number[]): number {
  const kept = values.toSorted((a, b) => a - b).slice(0, -LEFT_OUT)
  return sumOf(kept) / kept.length
}

const isClose = (a: number, b: number): boolean => Math.max(a, b) < CHANGED * Math.min(a, b)

const valuesOf = (record: RanksRecord): Values => ({
  step: record.step_ms,
  compute: record.compute_ms,
  allToAll: record.all_to_all_ms,
  allReduce: record.all_reduce_ms,
  wait: record.wait_ms,
  waitedFor: record.waited_for_ms,
  kept: record.kept_per_rank ?? [],
})

/** Combines the values of each rank. */
function combined(all: readonly Values[], combine: (values: readonly number[]) => number): Values {
  const of = (field: keyof Values) =>
    (all[0]?.[field] ?? []).map((_, rank) => combine(all.map((values) => values[field][rank] as number)))
  return {
    step: of('step'),
    compute: of('compute'),
    allToAll: of('allToAll'),
    allReduce: of('allReduce'),
    wait: of('wait'),
    waitedFor: of('waitedFor'),
    kept: of('kept'),
  }
}
