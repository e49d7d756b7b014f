/** Layouts: how a training is distributed over devices. */
import type { PlannedRun, PlanSettings } from '../inputs/settings.ts'

export type Recompute = NonNullable<PlanSettings['recompute']>
export type Offload = NonNullable<PlanSettings['offload']>

/**
 * `data` × `context` × `tensor` × `pipeline` devices. Ranks count tensor first, then context, data and pipeline, so the
 * devices of a tensor group are adjacent. The experts of a layer are distributed over `expert` adjacent groups of
 * `expertTensor` devices, which share the products of an expert.
 */
export interface Layout {
  readonly data: number
  readonly expert: number
  readonly tensor: number
  readonly pipeline: number
  /** Devices that share a sequence. */
  readonly context: number
  /** 1 or `tensor`. */
  readonly expertTensor: number
  readonly zero: number
  readonly recompute: Recompute
  /** Micro-batches into which a data-parallel rank splits its sequences, run one after the other. */
  readonly microBatches: number
  readonly offload: Offload
}

export const devicesOf = ({ data, context, tensor, pipeline }: Layout): number => data * context * tensor * pipeline

/** Ranks that compute different tokens with the same dense weights. */
export const tokenRanks = ({ data, context }: Layout): number => data * context

/** Ranks that hold an expert. */
export const expertCopies = ({ data, context, tensor, expert, expertTensor }: Layout): number =>
  (data * context * tensor) / (expert * expertTensor)

/** Sequences of one micro-batch of a data-parallel rank. */
export const sequencesOf = ({ train }: PlannedRun, { data, microBatches }: Layout): number =>
  train.batch / data / microBatches

/** `data 480 · expert 480 · ZeRO 1`: the settings that differ from the simplest layout. */
export function layoutName(layout: Layout): string {
  const { data, context, expert, tensor, expertTensor, pipeline, zero, recompute, microBatches, offload } = layout
  const parts = [`data ${data}`]
  if (context > 1) parts.push(`context ${context}`)
  if (expert > 1) parts.push(`expert ${expert}`)
  if (tensor > 1) parts.push(`tensor ${tensor}${expert > 1 && expertTensor < tensor ? ' (whole experts)' : ''}`)
  if (pipeline > 1) parts.push(`pipeline ${pipeline}`)
  if (zero > 0) parts.push(`ZeRO ${zero}`)
  if (microBatches > 1) parts.push(`${microBatches} micro-batches`)
  if (recompute !== 'none') parts.push(`${recompute} recomputation`)
  if (offload !== 'none') parts.push(offload === 'all' ? 'all offloaded' : 'optimizer offloaded')
  return parts.join(' · ')
}
