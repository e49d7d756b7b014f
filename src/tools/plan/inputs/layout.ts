/** Layouts: how a training is distributed over devices. */
import type { PlannedRun, PlanSettings } from './settings.ts'

export type Recompute = NonNullable<PlanSettings['recompute']>
export type Offload = NonNullable<PlanSettings['offload']>

/**
 * A layout of `data` × `context` × `tensor` × `pipeline` devices. Ranks count tensor first, then context, data and
 * pipeline, so the devices of a tensor group are adjacent. The experts of a layer are distributed over `expert`
 * adjacent groups of `expertTensor` devices; the devices of a group share the products of each expert.
 */
export interface Layout {
  readonly data: number
  readonly expert: number
  readonly tensor: number
  readonly pipeline: number
  /** Number of devices that share a sequence. */
  readonly context: number
  /** Number of devices that share an expert: 1 or `tensor`. */
  readonly expertTensor: number
  /** Number of parts of a pipeline stage (interleaved schedule). */
  readonly virtualStages: number
  readonly zero: number
  readonly recompute: Recompute
  /** Number of micro-batches into which a data-parallel rank splits its sequences, to run them one after the other. */
  readonly microBatches: number
  readonly offload: Offload
}

export const devicesOf = ({ data, context, tensor, pipeline }: Layout): number => data * context * tensor * pipeline

/** Number of ranks that compute different tokens with the same dense weights. */
export const tokenRanks = ({ data, context }: Layout): number => data * context

/** Number of copies of an expert. */
export const expertCopies = ({ data, context, tensor, expert, expertTensor }: Layout): number =>
  (data * context * tensor) / (expert * expertTensor)

/** Numbers of ranks over which ZeRO shards dense parameters and experts: all copies, or `plan.parallel.shard` of them. */
export function shardsOf({ plan }: PlannedRun, layout: Layout): { dense: number; experts: number } {
  const most = plan.parallel.shard ?? Number.POSITIVE_INFINITY
  return { dense: Math.min(most, tokenRanks(layout)), experts: Math.min(most, expertCopies(layout)) }
}

/** Number of sequences in a micro-batch of a data-parallel rank. */
export const sequencesOf = ({ train }: PlannedRun, { data, microBatches }: Layout): number =>
  train.batch / data / microBatches

/** Such as `full recomputation` or `latent, norms recomputed`. */
export function recomputationName(recompute: Recompute): string {
  if (recompute === 'none') return 'no recomputation'
  if (recompute === 'operations') return 'recomputation by operation'
  return typeof recompute === 'string' ? `${recompute} recomputation` : `${recompute.join(', ')} recomputed`
}

/** The settings of a layout that differ from the simplest layout, such as `data 480 · expert 480 · ZeRO 1`. */
export function layoutName(layout: Layout): string {
  const { data, context, expert, tensor, expertTensor, pipeline, virtualStages, zero, microBatches, offload } = layout
  const parts = [`data ${data}`]
  if (context > 1) parts.push(`context ${context}`)
  if (expert > 1) parts.push(`expert ${expert}`)
  if (tensor > 1) parts.push(`tensor ${tensor}${expert > 1 && expertTensor < tensor ? ' (whole experts)' : ''}`)
  if (pipeline > 1) parts.push(`pipeline ${pipeline}`)
  if (virtualStages > 1) parts.push(`${virtualStages} virtual stages`)
  if (zero > 0) parts.push(`ZeRO ${zero}`)
  if (microBatches > 1) parts.push(`${microBatches} micro-batches`)
  if (layout.recompute !== 'none') parts.push(recomputationName(layout.recompute))
  if (offload !== 'none') parts.push(offload === 'all' ? 'all offloaded' : 'optimizer offloaded')
  return parts.join(' · ')
}
