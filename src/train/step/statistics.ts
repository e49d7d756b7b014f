/** Computes routing statistics from the counts that a program writes. */
import type { RoutedModule } from '../../core/model/parameters.ts'
import type { RoutingRecord, RoutingSummary } from './records.ts'

/** Counts of one routed module of a layer, summed over passes (micro-batches of a step, or evaluation batches). */
export interface LayerCounts {
  readonly layer: number
  readonly module: RoutedModule
  readonly capacity: number | null
  /** Assignments to each expert, before drops and after. */
  readonly tokens: Float64Array
  readonly kept: Float64Array
  /** ln of the experts of a prototype, nats: the entropy of a router that has no preference. Null without weights. */
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

/** c_v, the population standard deviation over the mean; 0 if nothing was routed. */
export function coefficientOfVariation(counts: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < counts.length; i++) sum += counts[i] as number
  const mean = sum / counts.length
  if (!(mean > 0)) return 0
  let squares = 0
  for (let i = 0; i < counts.length; i++) squares += ((counts[i] as number) - mean) ** 2
  return Math.sqrt(squares / counts.length) / mean
}

export function sumOf(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i] as number
  return sum
}

/** The largest value over the mean; 1 if there is nothing. */
export function maxOverMean(values: readonly number[]): number {
  const sum = sumOf(values)
  return sum > 0 ? (Math.max(...values) * values.length) / sum : 1
}

/** The value of one over the median of the others; 1 without others. */
export function overOthers(values: readonly number[], one: number): number {
  const others = median(values.filter((_, i) => i !== one))
  return others > 0 ? (values[one] as number) / others : 1
}

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

/** Null without values. */
const meanOf = (values: readonly number[]): number | null =>
  values.length === 0 ? null : sumOf(values) / values.length

/** Assignments that experts computed, over all routed modules. */
export const keptAssignments = (layers: readonly LayerCounts[]): number =>
  layers.reduce((sum, { kept }) => sum + sumOf(kept), 0)

/** Operations of the assignments that experts computed; the cost of one depends on the module. */
export const keptFlops = (
  layers: readonly LayerCounts[],
  flopsPerAssignment: Readonly<Record<RoutedModule, number>>,
): number => layers.reduce((sum, { kept, module }) => sum + sumOf(kept) * flopsPerAssignment[module], 0)

/** The median; 0 for no values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  if (sorted.length === 0) return 0
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}
