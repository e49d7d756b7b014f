/** What a caller of a training (the command line, a study, a test) can follow live, and how a training ended. */
import type { CeilingReport } from '../measure/ceiling.ts'
import type { StepProfile } from '../measure/step-profile.ts'
import type { RunMessage } from '../run/messages.ts'
import type { Engine } from '../runtime/engine.ts'
import type { StepEvent } from '../runtime/times.ts'
import type { EvalRecord, TrainRecord } from '../step/records.ts'

/** What can be followed live. */
export type TrainEvent =
  | RunMessage
  | ({
      readonly kind: 'start'
      readonly directory: string
      readonly steps: number
      /** Step of the checkpoint that is continued, or 0. */
      readonly fromStep: number
      readonly parameters: number
      /** Parameters that one token uses. */
      readonly activeParameters: number
      readonly trainTokens: number
      readonly heldOutTokens: number
      /** Matmul rate of this machine in the run's precision as measured at the start, FLOP/s. */
      readonly peakFlops: number
    } & Engine)
  | TrainRecord
  | EvalRecord
  | { readonly kind: 'checkpoint'; readonly step: number; readonly path: string }

/** How a training ended. */
export interface TrainSummary {
  /** Where the time of the steps went, when asked for and a step was recorded. */
  readonly profile?: StepProfile
  /** What every thread did in the last step, when a profile was asked for. */
  readonly trace?: readonly StepEvent[]
  readonly directory: string
  /** True when it was stopped before its last step (a checkpoint was written). */
  readonly interrupted: boolean
  readonly step: number
  readonly tokens: number
  readonly seconds: number
  /** Medians over the steps of this process; `mfu` of the best ceiling that is known at the end. */
  readonly tokensPerSecond: number
  readonly mfu: number
  /** This machine's matmul rate; null when it was not measured. */
  readonly ceiling: CeilingReport | null
  readonly last: TrainRecord | null
  readonly evaluation: EvalRecord | null
}
