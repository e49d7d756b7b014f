/**
 * What PyTorch's fully sharded data parallelism (FSDP) adds to ZeRO: whole weights and gradients of a few parts of the
 * model, and copies. Parts are the layers, each wrapped by itself, and the root, which has embedding and head.
 *
 * The sharded weights are the float32 originals; a gathered part is in 16 bits. With `zero` 3 a layer is gathered twice,
 * since it is resharded after the forward pass, and the root once. With `zero` 2 weights stay until the backward pass. In
 * a pipeline they stay for the whole step, and gradients of all micro-batches are added up before they are reduced
 * (torchtitan's `apply_fsdp`, PyTorch's `PipelineStage` of 2024 and 2025).
 */

import type { Layout } from '../inputs/layout.ts'
import { type PlannedRun, storedBytes } from '../inputs/settings.ts'
import type { Slice } from '../work/components.ts'
import { addCounts, type Count, type PartCounts } from '../work/parameter-counts.ts'
import type { PipelineStage } from '../work/stages.ts'
import { gatheredBytes, gradientBytes } from './state.ts'

/** Whether whole weights and gradients live for a whole step. */
const isWholeStep = ({ zero, pipeline }: Layout): boolean => zero < 3 && pipeline > 1

/** Bytes of gathered weights, and of whole gradients with the buffer that they are reduced from. */
export function gatheredParts(
  run: PlannedRun,
  layout: Layout,
  layers: readonly PartCounts[],
  root: readonly PartCounts[],
): number {
  const size = (parts: PartCounts, bytes: (count: Count) => number) =>
    bytes(parts.dense) / layout.tensor + bytes(parts.experts) / layout.expertTensor / layout.expert
  const weights = (parts: PartCounts) => size(parts, (count) => gatheredBytes(run, count))
  const wide = storedBytes(run.plan.precision)
  const gradients = (bytes: number) => (parts: PartCounts) => size(parts, ({ parameters }) => bytes * parameters)
  const largest = (bytes: (parts: PartCounts) => number) => Math.max(0, ...layers.map(bytes))
  const all = addCounts([...layers, ...root])
  // A layer is reduced from a copy of its gradient in the precision of the exchange.
  const reduced = largest(gradients(wide + gradientBytes(run)))
  if (isWholeStep(layout)) return weights(all) + gradients(gradientBytes(run))(all) + reduced
  // The next layer arrives while one is computed. The gradient of the root waits for the end of the backward pass.
  const held = layout.zero < 3 ? weights(addCounts(layers)) : 2 * largest(weights)
  const ends = addCounts(root)
  return held + weights(ends) + gradients(wide)(ends) + reduced
}

/**
 * Bytes that a stage of PyTorch's pipeline keeps for every micro-batch of a step, whatever the schedule: results of its
 * last layer until the step ends (`output_chunks`), on the last stage the logits, and buffers for inputs and gradients
 * that arrive. Inputs of micro-batches in flight are activations and not counted here. Each virtual stage has its own.
 */
export function pipelineBytes(
  { model, tokens, tensor, bytes }: Slice,
  { pipeline, virtualStages, microBatches }: Layout,
  { index, layers }: PipelineStage,
  inFlight: number,
): { readonly logits: number; readonly communication: number } {
  if (pipeline === 1) return { logits: 0, communication: 0 }
  const isLast = index === pipeline - 1
  const hidden = layers[0]?.inputBytes ?? 0
  const [receiving, sending] = [virtualStages - (index === 0 ? 1 : 0), virtualStages - (isLast ? 1 : 0)]
  const arriving = hidden * (receiving * (microBatches - inFlight) + sending * microBatches)
  const results = hidden * sending * microBatches
  return {
    logits: isLast ? (microBatches * tokens * model.vocabulary * bytes) / tensor : 0,
    communication: arriving + results,
  }
}

/** How often a step reduces gradients. */
export const reductions = (layout: Layout): number => (isWholeStep(layout) ? 1 : layout.microBatches)

/**
 * How often a step gathers a parameter, on average over a stage.
 * @param own parameters of the layers, and after them of the root
 */
export function gatherings(layout: Layout, own: readonly PartCounts[], layers: number): number {
  const once = reductions(layout)
  if (layout.zero < 3) return once
  const size = (parts: readonly PartCounts[]) => {
    const { dense, experts } = addCounts(parts)
    return dense.parameters / layout.tensor + experts.parameters / layout.expertTensor / layout.expert
  }
  return once * (1 + size(own.slice(0, layers)) / size(own))
}

/**
 * Memory traffic of a parameter for each gathering and each reduction: gathered weights are copied from the buffer of
 * all ranks' shards to their tensors, gradients to such a buffer in the precision of the exchange.
 */
export function copiedBytes(run: PlannedRun): { gathered: number; reduced: number } {
  const wide = storedBytes(run.plan.precision)
  return { gathered: 2 * wide, reduced: wide + gradientBytes(run) }
}
