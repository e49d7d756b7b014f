/**
 * Measurements of the ranks. The times that each rank has measured in its step are gathered with the message that ranks
 * exchange before the next step, and become records on the first rank.
 */

import { maxOverMean, overOthers, sumOf } from '../../core/averages.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { bytes } from '../../core/text/numbers.ts'
import { rankName } from '../../core/text/rank-name.ts'
import { gatherRows, type Ranks } from '../../engine/contract/ranks.ts'
import type { LedgerRecord, RanksRecord } from '../step/metrics/records.ts'
import type { Growth } from '../step/ranks/growing-program.ts'
import { type AllToAllStages, ledgerRecords } from '../step/ranks/ledger.ts'
import { type OwnStep, packStep, rankTimes, unpackStep } from '../step/ranks/times.ts'
import type { StepOutcome } from '../step/trainer.ts'
import type { RanksSummary } from './events.ts'
import { SlowRanks } from './slow-rank.ts'

/** A step that this rank has done and not reported yet. */
interface Done {
  readonly step: number
  readonly own: OwnStep
  readonly kept: readonly number[] | null
}

export interface Observed {
  readonly record: RanksRecord
  /** Records of the exchanges; empty without `parallel.ledger`. */
  readonly ledger: readonly LedgerRecord[]
}

export interface RankListener {
  observed(step: Observed): void
  /** @param message A warning about a slow rank, for people. */
  warn(message: string): void
  /** @param message A message about the memory of a rank, for people. */
  notice(message: string): void
}

export class RankObserver {
  private readonly config: RunConfig
  private readonly ranks: Ranks | null
  private readonly allToAlls: readonly AllToAllStages[]
  private readonly listener: RankListener
  private readonly slow: SlowRanks
  /** Working memory of each rank that has been reported, in bytes. */
  private readonly reportedBytes: number[] = []
  private done: Done | null = null
  private gathered: { readonly done: Done; readonly all: readonly Float64Array[] } | null = null

  /**
   * @param allToAlls Stages of the all-to-alls of each pass of a step, in order.
   * @param listener Receives records and messages, on the first rank.
   */
  constructor(config: RunConfig, ranks: Ranks | null, allToAlls: readonly AllToAllStages[], listener: RankListener) {
    this.config = config
    this.ranks = ranks
    this.allToAlls = allToAlls
    this.listener = listener
    this.slow = new SlowRanks(ranks?.roster ?? [])
  }

  stepDone(step: number, { own, keptByRank: kept }: StepOutcome): void {
    this.done = own && { step, own, kept }
  }

  /**
   * Whether any rank has been asked to stop. Call it before each step, and after the last: the measurements of the last
   * step travel in the same message.
   * @param growth How the working memory of this rank has grown since the start; null if it has not.
   */
  async isStopped(signal: { readonly aborted: boolean } | undefined, growth: Growth | null = null): Promise<boolean> {
    const { ranks, done, config } = this
    const aborted = signal?.aborted ? 1 : 0
    if (!ranks) return aborted === 1
    const own = done ? packStep(done.own, config.parallel.ledger) : []
    const { before = 0, now = 0, most = 0 } = growth ?? {}
    const all = await gatherRows(ranks, Float64Array.from([aborted, before, now, most, ...own]))
    if (ranks.rank === 0)
      for (const [rank, [, before = 0, now = 0, most = 0]] of all.entries())
        this.reportGrowth(rank, { before, now, most })
    if (done && ranks.rank === 0) this.gathered = { done, all: all.map((row) => row.subarray(4)) }
    this.done = null
    return all.some(([isAborted]) => isAborted !== 0)
  }

  private reportGrowth(rank: number, { before, now, most }: Growth): void {
    const { config, ranks, listener, reportedBytes } = this
    const known = reportedBytes[rank] ?? before
    if (now <= known) return
    reportedBytes[rank] = now
    const { headroom, expert } = config.parallel
    const name = rankName(ranks?.roster[rank] ?? { rank })
    listener.notice(
      `${name}: more rows arrive for its experts than parallel.headroom=${headroom} has room for: its memory for ` +
        `activations has grown from ${bytes(known)} to ${bytes(now)} (at most ${bytes(most)}, if all tokens of the ` +
        `${expert} ranks choose its experts)`,
    )
  }

  /**
   * Reports the step before the last {@link isStopped}, unless it was reported already. Call it while the next step
   * computes.
   */
  report(): void {
    const { gathered, allToAlls, config, listener, slow } = this
    if (!gathered) return
    this.gathered = null
    const { done, all } = gathered
    const { expert, ledger } = config.parallel
    const steps = all.map((numbers) => unpackStep(numbers, ledger ? expert : 0))
    const record = ranksRecord(config, done, steps)
    const lines = ledger ? ledgerRecords(done.step, steps, done.own, allToAlls, expert) : []
    listener.observed({ record, ledger: lines })
    const warning = slow.add(record)
    if (warning !== null) listener.warn(warning)
  }

  /** Summary of all steps so far; null on ranks other than the first, and without other ranks. */
  summary(): RanksSummary | null {
    this.report()
    return this.slow.summary()
  }
}

function ranksRecord(
  { parallel, train, model }: RunConfig,
  { step, kept }: Done,
  steps: readonly OwnStep[],
): RanksRecord {
  const times = rankTimes(steps, parallel.expert)
  const share = (part: readonly number[]) => sumOf(part) / sumOf(times.step)
  return {
    kind: 'ranks',
    step,
    tokens: step * train.batch * model.sequence,
    step_ms: times.step,
    compute_ms: times.compute,
    all_to_all_ms: times.allToAll,
    all_reduce_ms: times.allReduce,
    wait_ms: times.wait,
    waited_for_ms: times.waitedFor,
    ...(kept && { kept_per_rank: kept, load_max_over_mean: maxOverMean(kept) }),
    compute_max_over_median: Math.max(...times.compute.map((_, rank) => overOthers(times.compute, rank))),
    communication_share: share(times.allToAll) + share(times.allReduce),
    wait_share: share(times.wait),
  }
}
