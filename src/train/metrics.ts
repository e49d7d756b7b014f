/**
 * What a training tells: the lines of metrics.jsonl and routing.jsonl, and the events that a caller
 * (the command line, a study, a test) can follow live.
 */

import type { RoutedModule } from '../model/parameters.ts'
import type { CapacityRule } from '../model/routing/contract.ts'
import type { StepEvent } from '../runtime/index.ts'
import type { Engines } from './machine.ts'
import type { StepProfile } from './step-profile.ts'

/** The routing part of a metrics line, over all routers. */
export interface RoutingSummary {
  /** Mean over routers of the load-balancing loss before its coefficient: 1 at perfect balance. */
  readonly aux_loss: number
  /** Mean over routers of the router z-loss before its coefficient. */
  readonly z_loss: number
  /** Share of assignments dropped for lack of capacity, mean over routers. */
  readonly drop_rate: number
  /** Share of tokens that no expert computed, mean over routers. */
  readonly unserved_rate: number
  /** c_v of tokens per expert, mean over routers, before drops and after. */
  readonly load_cv: number
  readonly load_cv_kept: number
  /** Experts without a token, summed over routers. */
  readonly dead_experts: number
}

/** A line of metrics.jsonl for a training step. Names as users of other trainers know them. */
export interface TrainRecord extends RoutingSummary {
  readonly kind: 'train'
  readonly step: number
  /** Tokens trained on so far, this step included. */
  readonly tokens: number
  /** Cross-entropy alone, nats a token. */
  readonly loss: number
  readonly learning_rate: number
  /** Global gradient norm before clipping. */
  readonly grad_norm: number
  readonly tokens_per_second: number
  readonly step_ms: number
  /** Model FLOPs utilisation: achieved FLOP/s over this machine's measured matmul rate, in the run's precision. */
  readonly mfu: number
  /** True when the loss or the gradient was not finite and no parameter was changed. */
  readonly skipped?: true
}

/** Held-out text evaluated under one capacity rule. */
export interface CapacityEvaluation {
  /** Nats a token. */
  readonly loss: number
  readonly bits_per_byte: number
  /** Share of assignments dropped, and of tokens that no expert computed. */
  readonly drop_rate: number
  readonly unserved_rate: number
}

/** A line of metrics.jsonl for an evaluation on held-out documents. */
export interface EvalRecord extends RoutingSummary {
  readonly kind: 'eval'
  readonly step: number
  /** Tokens trained on so far. */
  readonly tokens: number
  readonly loss: number
  /** loss in bits over the UTF-8 bytes of the evaluated text. */
  readonly bits_per_byte: number
  /** Tokens evaluated. */
  readonly evaluated_tokens: number
  /** The rule that `loss` and the routing summary are of, and the same text under every rule; absent in old records. */
  readonly capacity?: CapacityRule
  readonly capacities?: Readonly<Record<CapacityRule, CapacityEvaluation>>
}

/** A line of routing.jsonl: one router of a sparse layer at one step. */
export interface RoutingRecord {
  readonly step: number
  /** Index of the transformer layer. */
  readonly layer: number
  /** What is routed: the feed-forward network, or a projection of attention. */
  readonly module: RoutedModule
  /** Capacity of an expert in a group of tokens; null = dropless. */
  readonly capacity: number | null
  /** Assignments to each expert before drops, and those kept. */
  readonly tokens_per_expert: readonly number[]
  readonly kept_per_expert: readonly number[]
  readonly load_cv: number
  readonly load_cv_kept: number
  readonly drop_rate: number
  /** Share of tokens that no expert computed: all their choices were dropped, or no expert chose them. */
  readonly unserved_rate: number
  /** Mean over tokens of the entropy of the router's distribution, nats. */
  readonly gate_entropy: number
  readonly dead_experts: number
  /** Largest load over the mean load, before drops. */
  readonly max_over_mean: number
}

/** What can be followed live. */
export type TrainEvent =
  | { readonly kind: 'prepare'; readonly message: string }
  /** What differs from what was asked, such as the precision, or what the numbers mean. */
  | { readonly kind: 'notice'; readonly message: string }
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
      /** Measured matmul rate of this machine in the run's precision, FLOP/s. */
      readonly peakFlops: number
    } & Engines)
  | TrainRecord
  | EvalRecord
  | { readonly kind: 'checkpoint'; readonly step: number; readonly path: string }
  | { readonly kind: 'warning'; readonly message: string }

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
  /** Medians over the steps of this process. */
  readonly tokensPerSecond: number
  readonly mfu: number
  readonly last: TrainRecord | null
  readonly evaluation: EvalRecord | null
}
