/**
 * Records of a run: the lines of metrics.jsonl and ledger.jsonl. The lines of routing.jsonl are in
 * src/core/model/routing/statistics.ts.
 */
import type { RoutedModule } from '../../../core/model/config/moe-config.ts'
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import type { RoutingSummary } from '../../../core/model/routing/statistics.ts'

/** A line of metrics.jsonl for a training step. Field names follow other trainers. */
export interface TrainRecord extends RoutingSummary {
  readonly kind: 'train'
  readonly step: number
  /** Tokens trained on so far, this step included. */
  readonly tokens: number
  /** Cross-entropy alone, nats per token. */
  readonly loss: number
  /** The sum of the losses of layers of the user's own, as the objective has it; absent if they have none. */
  readonly layer_loss?: number
  readonly learning_rate: number
  /** Global gradient norm before clipping. */
  readonly grad_norm: number
  readonly tokens_per_second: number
  readonly step_ms: number
  /**
   * Model FLOPs utilisation, 0 to 1: achieved FLOP/s over this machine's matmul rate in the run's precision, as known
   * at this step. Attention counts over all S × S positions, masked ones included (src/core/model/describe.ts).
   */
  readonly mfu: number
  /** True if the loss or the gradient was not finite, so that no parameter was changed. */
  readonly skipped?: true
  /**
   * What is wrong with the routers, in words for people: in the last step of each 100 in which something was, and an empty
   * list when it is so no more.
   */
  readonly router_faults?: readonly string[]
}

/**
 * A line of metrics.jsonl for the ranks of a training step. Arrays have a value for each rank, in order; times are
 * milliseconds. `compute_ms`, `all_to_all_ms`, `all_reduce_ms` and `wait_ms` of a rank add up to its `step_ms`.
 */
export interface RanksRecord {
  readonly kind: 'ranks'
  readonly step: number
  readonly tokens: number
  readonly step_ms: readonly number[]
  readonly compute_ms: readonly number[]
  /** Time blocked while rows of experts travel. */
  readonly all_to_all_ms: readonly number[]
  /** Time blocked while gradients, parameters and statistics travel. */
  readonly all_reduce_ms: readonly number[]
  /** Time blocked in one of these exchanges until the last rank has come to it. */
  readonly wait_ms: readonly number[]
  /** Mean over the other ranks of the time that they wait for this one. */
  readonly waited_for_ms: readonly number[]
  /** Assignments that the experts of each rank computed, over all layers; absent if every rank has all experts. */
  readonly kept_per_rank?: readonly number[]
  /** Largest load over the mean load. */
  readonly load_max_over_mean?: number
  /** Longest time of computing over the median of the other ranks. */
  readonly compute_max_over_median: number
  /** Shares of the step, means over ranks. */
  readonly communication_share: number
  readonly wait_share: number
}

/** A line of ledger.jsonl: what the ranks of an expert group sent to each other for the experts of a module in a step. */
export interface LedgerRecord {
  readonly step: number
  readonly layer: number
  readonly module: RoutedModule
  /** The first rank of the group; the others follow it. */
  readonly first_rank: number
  /**
   * Rows of tokens sent to experts, by source and destination [E][E], with the empty rows that pad experts; 0 from a
   * rank to itself.
   */
  readonly rows: readonly (readonly number[])[]
  /** All bytes sent, by source and destination: numbers of rows, rows, results, and the gradients of both. */
  readonly bytes: readonly (readonly number[])[]
}

/** An evaluation under one capacity rule. */
export interface CapacityEvaluation {
  /** Mean loss, nats per token. */
  readonly loss: number
  /** Loss in bits over the UTF-8 bytes of the evaluated text. */
  readonly bits_per_byte: number
  /** Rates as in {@link RoutingSummary}; both are 0 under `none`. */
  readonly drop_rate: number
  readonly unserved_rate: number
}

/** The evaluation of one domain: the documents of one file of records, or of one folder. */
export interface DomainEvaluation {
  readonly name: string
  readonly evaluated_tokens: number
  /** UTF-8 bytes of the evaluated text. */
  readonly evaluated_bytes: number
  /** Mean loss under each rule, nats per token. */
  readonly losses: Readonly<Record<CapacityRule, number>>
}

/**
 * Losses by groups of documents, from which the variation between texts is estimated. A text of up to 64 documents has a
 * group for each. Runs on the same text have the same groups.
 */
export interface DocumentLosses {
  /** Number of documents. */
  readonly documents: number
  /** Number of groups of each domain; the lists below have the groups of the first domain, then of the next. */
  readonly groups: readonly number[]
  /** Evaluated tokens of each group. */
  readonly tokens: readonly number[]
  /** Sum of the losses of each group under each rule, nats; rules that compute the same as `train` are left out. */
  readonly nats: { readonly train: readonly number[] } & Readonly<Partial<Record<CapacityRule, readonly number[]>>>
}

/** A line of metrics.jsonl for an evaluation on held-out documents. */
export interface EvalRecord extends RoutingSummary {
  readonly kind: 'eval'
  readonly step: number
  /** Tokens trained on so far. */
  readonly tokens: number
  readonly loss: number
  /** The sum of the losses of layers of the user's own under this capacity rule; absent if they have none. */
  readonly layer_loss?: number
  /** Loss in bits over the UTF-8 bytes of the evaluated text. */
  readonly bits_per_byte: number
  /** Tokens evaluated. */
  readonly evaluated_tokens: number
  /** The capacity rule of the fields above; `eval` in records of a training. */
  readonly capacity: CapacityRule
  /**
   * Evaluations of the same text under each rule: at `factor`, at `evalFactor`, and dropless. The field is missing in
   * files of earlier versions.
   */
  readonly capacities: Readonly<Record<CapacityRule, CapacityEvaluation>>
  /**
   * Nats a token by which text up to a position has a lower loss because the model sees the text after it, although the
   * router or the layer of the user's own denies that; only in the first evaluation of a process that trains, and absent
   * if the part keeps its word.
   */
  readonly later_tokens_gain?: number
  /** Evaluations by domain, if the text has several; absent during training. */
  readonly domains?: readonly DomainEvaluation[]
  /** Losses by groups of documents, in records of studies. */
  readonly documents?: DocumentLosses
}
