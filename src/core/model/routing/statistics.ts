/** Routing statistics: the load of experts, drops and gates of a step, from the counts that a program writes. */
import { coefficientOfVariation, sumOf } from '../../averages.ts'
import type { RoutedModule } from '../config/moe-config.ts'

/** Counts of one routed module of a layer, summed over passes (micro-batches of a step, or evaluation batches). */
export interface LayerCounts {
  readonly layer: number
  readonly module: RoutedModule
  readonly capacity: number | null
  /** Number of assignments to each expert, before drops and after. */
  readonly tokens: Float64Array
  readonly kept: Float64Array
  /**
   * ln(N/Z) nats, the entropy of a router without a preference among the experts of a prototype; null without weights.
   */
  readonly largestEntropy: number | null
  /** Sums over passes (divide by `passes`) of the losses before their coefficients and of the entropy. */
  balance: number
  z: number
  entropy: number
  /** Sum over passes of the mean total gate of a token. */
  gate: number
  /** Sum over passes of the share of tokens that no expert computed. */
  unserved: number
  passes: number
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
  /** Number of assignments to each expert, before drops and after. */
  readonly tokens_per_expert: readonly number[]
  readonly kept_per_expert: readonly number[]
  readonly load_cv: number
  readonly load_cv_kept: number
  readonly drop_rate: number
  /** Share of tokens that no expert computed: all their choices were dropped, or no expert chose them. */
  readonly unserved_rate: number
  /**
   * Mean over tokens of the total gate: the sum of the gates of a token's kept choices, by which the mixture of its
   * experts is scaled; 0 for a token that no expert computed. The field is missing in files of earlier versions.
   */
  readonly gate_mean: number
  /** Mean over tokens of the entropy of the router's distribution, nats; null for a router without weights. */
  readonly gate_entropy: number | null
  /**
   * `gate_entropy` divided by ln(N/Z), the entropy of a router without a preference among the experts of a prototype:
   * near 1 the router has not decided. Null for a router without weights, or with one expert in a prototype. The field
   * is missing in files of earlier versions.
   */
  readonly entropy_share: number | null
  readonly dead_experts: number
  /** Largest load over the mean load, before drops. */
  readonly max_over_mean: number
}

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
  /** Number of experts without a token, summed over routers. */
  readonly dead_experts: number
  /**
   * Mean over routers of the mean total gate: see {@link RoutingRecord}. Null for a dense model; this field and the
   * next two are missing in files of earlier versions.
   */
  readonly gate_mean: number | null
  /** Means over routers of the entropy of their distribution and of its share of the largest; null without weights. */
  readonly gate_entropy: number | null
  readonly entropy_share: number | null
}

/** The fields of a {@link RoutingSummary} about loads and gates: all but the losses. */
export const loadFields: ReadonlySet<string> = new Set([
  'drop_rate',
  'unserved_rate',
  'load_cv',
  'load_cv_kept',
  'dead_experts',
  'gate_mean',
  'gate_entropy',
  'entropy_share',
] satisfies (keyof RoutingSummary)[])
/** All fields of a {@link RoutingSummary}. */
const routingFields: ReadonlySet<string> = new Set([
  ...loadFields,
  ...(['aux_loss', 'z_loss'] satisfies (keyof RoutingSummary)[]),
])

/**
 * Whether a record of training or evaluation, perhaps read from a file, is of a model without experts: it has no gates. A
 * gate that is not finite is null in a file too, but loads are not even then.
 */
export const isOfDenseModel = ({ gate_mean, load_cv }: Readonly<Record<string, unknown>>): boolean =>
  gate_mean === null && load_cv === 0

/**
 * The fields of a record without those that say nothing: for a model without experts, the fields of routers.
 * @param record Names may have a prefix, as in `train_capacity/drop_rate`.
 */
export const telling = (record: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  isOfDenseModel(record)
    ? Object.fromEntries(
        Object.entries(record).filter(([name]) => !routingFields.has(name.slice(name.lastIndexOf('/') + 1))),
      )
    : record

export function routingRecord(step: number, counts: LayerCounts): RoutingRecord {
  const { layer, module, capacity, tokens, kept, largestEntropy, entropy, gate, unserved, passes } = counts
  const assigned = sumOf(tokens)
  return {
    step,
    layer,
    module,
    capacity,
    tokens_per_expert: [...tokens],
    kept_per_expert: [...kept],
    load_cv: coefficientOfVariation(tokens),
    load_cv_kept: coefficientOfVariation(kept),
    drop_rate: assigned > 0 ? 1 - sumOf(kept) / assigned : 0,
    unserved_rate: unserved / passes,
    gate_mean: gate / passes,
    gate_entropy: largestEntropy === null ? null : entropy / passes,
    entropy_share: largestEntropy ? entropy / passes / largestEntropy : null,
    dead_experts: tokens.filter((count) => count === 0).length,
    max_over_mean: assigned > 0 ? Math.max(...tokens) / (assigned / tokens.length) : 0,
  }
}

export function summarize(layers: readonly LayerCounts[]): RoutingSummary {
  const records = layers.map((counts) => routingRecord(0, counts))
  const mean = (values: readonly number[]) => meanOf(values) ?? 0
  const known = (values: readonly (number | null)[]) => meanOf(values.filter((value) => value !== null))
  return {
    aux_loss: mean(layers.map(({ balance, passes }) => balance / passes)),
    z_loss: mean(layers.map(({ z, passes }) => z / passes)),
    drop_rate: mean(records.map((record) => record.drop_rate)),
    unserved_rate: mean(records.map((record) => record.unserved_rate)),
    load_cv: mean(records.map((record) => record.load_cv)),
    load_cv_kept: mean(records.map((record) => record.load_cv_kept)),
    dead_experts: records.reduce((sum, record) => sum + record.dead_experts, 0),
    gate_mean: meanOf(records.map((record) => record.gate_mean)),
    gate_entropy: known(records.map((record) => record.gate_entropy)),
    entropy_share: known(records.map((record) => record.entropy_share)),
  }
}

/** How decided the routers of a layer are in a step: means over the routers. */
export interface LayerGates {
  readonly layer: number
  /** See `gate_mean` and `entropy_share` of {@link RoutingRecord}. */
  readonly gateMean: number
  readonly entropyShare: number | null
}

/** One entry for each layer with experts. */
export function gatesByLayer(counts: readonly LayerCounts[]): LayerGates[] {
  return [...new Set(counts.map(({ layer }) => layer))].map((layer) => {
    const { gate_mean, entropy_share } = summarize(counts.filter((one) => one.layer === layer))
    return { layer, gateMean: gate_mean as number, entropyShare: entropy_share }
  })
}

/** The mean of values; null if there are no values. */
const meanOf = (values: readonly number[]): number | null =>
  values.length === 0 ? null : sumOf(values) / values.length

/** Number of assignments that experts computed, over all routed modules. */
export const keptAssignments = (layers: readonly LayerCounts[]): number =>
  layers.reduce((sum, { kept }) => sum + sumOf(kept), 0)

/** Operations of the assignments that experts computed; the cost of an assignment depends on the module. */
export const keptFlops = (
  layers: readonly LayerCounts[],
  flopsPerAssignment: Readonly<Record<RoutedModule, number>>,
): number => layers.reduce((sum, { kept, module }) => sum + sumOf(kept) * flopsPerAssignment[module], 0)
