/** Layouts: how a training is distributed over devices. */
import type { PlannedRun, PlanSettings } from '../inputs/settings.ts'

export type Recompute = NonNullable<PlanSettings['recompute']>
export type Offload = NonNullable<PlanSettings['offload']>

/**
 * `data` × `tensor` × `pipeline` devices. Ranks count tensor first, then data, then pipeline, so the devices of
 * a tensor group are adjacent. The experts of a layer are distributed over `expert` adjacent data-parallel ranks,
 * so each expert is held by `data / expert` ranks.
 */
export interface Layout {
  readonly data: number
  readonly expert: number
  readonly tensor: number
  readonly pipeline: number
  readonly zero: number
  readonly recompute: Recompute
  /** Micro-batches into which a data-parallel rank splits its sequences, run one after the other. */
  readonly microBatches: number
  readonly offload: Offload
}

export const devicesOf = ({ data, tensor, pipeline }: Layout): number => data * tensor * pipeline

/** Sequences of one micro-batch of a data-parallel rank. */
export const sequencesOf = ({ train }: PlannedRun, { data, microBatches }: Layout): number =>
  train.batch / data / microBatches

/** `data 480 · expert 480 · ZeRO 1`: the settings that differ from the simplest layout. */
export function layoutName({ data, expert, tensor, pipeline, zero, recompute, microBatches, offload }: Layout): string {
  const parts = [`data ${data}`]
  if (expert > 1) parts.push(`expert ${expert}`)
  if (tensor > 1) parts.push(`tensor ${tensor}`)
  if (pipeline > 1) parts.push(`pipeline ${pipeline}`)
  if (zero > 0) parts.push(`ZeRO ${zero}`)
  if (microBatches > 1) parts.push(`${microBatches} micro-batches`)
  if (recompute !== 'none') parts.push(`${recompute} recomputation`)
  if (offload !== 'none') parts.push(offload === 'all' ? 'all offloaded' : 'optimizer offloaded')
  return parts.join(' · ')
}
