/** Records of a run: the lines of metrics.jsonl and routing.jsonl. */
import type { RoutedModule } from '../model/parameters.ts'
import type { CapacityRule } from '../model/routing/contract.ts'

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

/** A line of metrics.jsonl for a training step. Field names follow other trainers. */
export interface TrainRecord extends RoutingSummary {
  readonly kind: 'train'
  readonly step: number
  /** Tokens trained on so far, this step included. */
  readonly tokens: number
  /** Cross-entropy alone, nats per token. */
  readonly loss: number
  readonly learning_rate: number
  /** Global gradient norm before clipping. */
  readonly grad_norm: number
  readonly tokens_per_second: number
  readonly step_ms: number
  /**
   * Model FLOPs utilisation, 0 to 1: achieved FLOP/s over this machine's matmul rate in the run's precision, as known
   * at this step. Attention counts over all S × S positions, masked ones included (src/model/describe.ts).
   */
  readonly mfu: number
  /** True if the loss or the gradient was not finite, so that no parameter was changed. */
  readonly skipped?: true
}

/** An evaluation under one capacity rule. */
export interface CapacityEvaluation {
  /** Nats per token. */
  readonly loss: number
  /** Loss in bits over the UTF-8 bytes of the evaluated text. */
  readonly bits_per_byte: number
  /** As in {@link RoutingSummary}; both 0 under `none`. */
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
  /** Loss in bits over the UTF-8 bytes of the evaluated text. */
  readonly bits_per_byte: number
  /** Tokens evaluated. */
  readonly evaluated_tokens: number
  /** The capacity rule of the fields above; `eval` in records of a training. */
  readonly capacity: CapacityRule
  /** The same text under each rule: at `factor`, at `evalFactor`, and dropless. Missing in files of earlier versions. */
  readonly capacities: Readonly<Record<CapacityRule, CapacityEvaluation>>
}

/** A line of routing.jsonl: one router of a sparse layer at one step. */
export interface RoutingRecord {
  readonly step: number
  /** Index of the transformer layer. */
  readonly layer: number
  /** The routed module: the feed-forward network, or a projection of attention. */
  readonly module: RoutedModule
  /** Capacity of an expert per group of tokens; null = dropless. */
  readonly capacity: number | null
  /** Assignments to each expert, before drops and after. */
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
