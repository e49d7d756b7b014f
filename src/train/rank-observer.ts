/**
 * Measurements of the ranks: what each rank has measured of its step is gathered with the message that ranks exchange
 * before the next one, and becomes records on the first rank.
 */
import type { RunConfig } from '../config/run-config.ts'
import { type ExchangeStages, ledgerRecords } from '../step/ledger.ts'
import { type OwnStep, packStep, rankTimes, unpackStep } from '../step/rank-times.ts'
import type { LedgerRecord, RanksRecord } from '../step/records.ts'
import { maxOverMean, overOthers, sumOf } from '../step/statistics.ts'
import type { StepOutcome } from '../step/trainer.ts'

/** A step that this rank has done and not reported yet. */
interface Done {
  readonly step: number
  readonly own: OwnStep
  readonly kept: readonly number[] | null
}

export interface Observed {
  readonly record: RanksRecord
  /** Empty without `parallel.ledger`. */
  readonly ledger: readonly LedgerRecord[]
}

export class RankObserver {
  private readonly config: RunConfig
  private readonly exchanges: readonly ExchangeStages[]
  private done: Done | null = null

  /** @param exchanges Of each pass of a step, in order. */
  constructor(config: RunConfig, exchanges: readonly ExchangeStages[]) {
    this.config = config
    this.exchanges = exchanges
  }

  stepDone(step: number, { own, keptByRank: kept }: StepOutcome): void {
    this.done = own && { step, own, kept }
  }

  /** The measurements of the last step, as many numbers on every rank; none if they have been observed. */
  own(): Float64Array {
    return this.done ? packStep(this.done.own, this.config.parallel.ledger) : new Float64Array()
  }

  /** @param all {@link own} of every rank, in order. Null if there were none. */
  observe(all: readonly Float64Array[]): Observed | null {
    const { done, exchanges, config } = this
    if (!done) return null
    this.done = null
    const { expert, ledger } = config.parallel
    const steps = all.map((numbers) => unpackStep(numbers, ledger ? expert : 0))
    return {
      record: ranksRecord(config, done, steps),
      ledger: ledger ? ledgerRecords(done.step, steps, done.own, exchanges, expert) : [],
    }
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
