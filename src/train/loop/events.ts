/** Events that training emits to its caller (the command line, a study, a test), and its summary. */

import type { LayerGates } from '../../core/model/routing/statistics.ts'
import type { RankIdentity } from '../../core/text/rank-name.ts'
import type { Engine } from '../../engine/contract/engine.ts'
import type { StepEvent } from '../../engine/contract/times.ts'
import type { CeilingReport } from '../measure/mfu.ts'
import type { StepProfile } from '../measure/step-profile.ts'
import type { RunMessage } from '../run/messages.ts'
import type { Origin } from '../run/origin.ts'
import type { EvalRecord, RanksRecord, TrainRecord } from '../step/metrics/records.ts'

export type TrainEvent =
  | RunMessage
  | ({
      readonly kind: 'start'
      readonly directory: string
      readonly steps: number
      /** Step of the checkpoint that is continued, or 0. */
      readonly fromStep: number
      /** Where the first weights came from, if from another run. */
      readonly from?: Origin
      readonly parameters: number
      /** Parameters used for one token. */
      readonly activeParameters: number
      readonly trainTokens: number
      readonly heldOutTokens: number
      /** Bits per byte that gzip needs for the held-out text, if `compareWithGzip` asked for it. */
      readonly gzipBitsPerByte?: number
      /** Matmul rate of this machine in the run's precision, measured at the start, FLOP/s. */
      readonly peakFlops: number
    } & Engine)
  | (TrainRecord & {
      /**
       * Present if a measurement of the ceiling was disturbed, so that `mfu` is an upper bound
       * ({@link CeilingReport.peakIsLowerBound}).
       */
      readonly mfuAtMost?: true
    })
  | EvalRecord
  | RanksRecord
  | { readonly kind: 'checkpoint'; readonly step: number; readonly path: string }

/** A rank that computes longer than the other ranks. */
export interface SlowRank extends RankIdentity {
  /** Computing time of the rank, divided by the median of the other ranks. */
  readonly ratio: number
  /** Mean time that the other ranks wait for it, as a share of a step. */
  readonly cost: number
  /** Assignments that its experts compute, divided by the mean of all ranks; null if every rank has all experts. */
  readonly load: number | null
}

/** Summary of the ranks of a training, over all of its steps but the first. */
export interface RanksSummary {
  readonly ranks: number
  /** Shares of a step, means over ranks: see {@link RanksRecord}. */
  readonly compute: number
  readonly allToAll: number
  readonly allReduce: number
  readonly wait: number
  /** The rank whose experts compute most; null if every rank has all experts. */
  readonly load: { readonly rank: number; readonly maxOverMean: number } | null
  readonly slow: SlowRank | null
}

export interface TrainSummary {
  /** Times of the steps, if a profile was requested. */
  readonly profile?: StepProfile
  /** Work of every thread in the last step, if a profile was requested. */
  readonly trace?: readonly StepEvent[]
  readonly directory: string
  /** Whether the training was stopped before its last step (a checkpoint was written). */
  readonly interrupted: boolean
  readonly step: number
  readonly tokens: number
  readonly seconds: number
  /** Medians over the steps of this process, null if it made no step; `mfu` uses the best ceiling known at the end. */
  readonly tokensPerSecond: number | null
  readonly mfu: number | null
  /** Matmul rate of this machine; null if it was not measured. */
  readonly ceiling: CeilingReport | null
  readonly last: TrainRecord | null
  readonly evaluation: EvalRecord | null
  /** Gates of the last step of this process; empty for a dense model, or without a step. */
  readonly gates: readonly LayerGates[]
  /** Summary of the ranks, on the first of several; null otherwise. */
  readonly ranks: RanksSummary | null
}
