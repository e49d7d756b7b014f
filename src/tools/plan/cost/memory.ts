/**
 * Bytes on one device, by kind, in the pipeline stage that needs the most. With uneven loads, the device is assumed to
 * have the rows of the busiest rank in every layer, which is an upper bound.
 */
import type { Cluster } from '../inputs/cluster.ts'
import { expertCopies, type Layout, type Recompute, tokenRanks } from '../inputs/layout.ts'
import { isFsdp, type PlannedRun } from '../inputs/settings.ts'
import type { ComponentKind } from '../work/components.ts'
import { type LayerWork, logitsBytes } from '../work/layer-work.ts'
import { addCounts, type Count, type ParameterCounts, type PartCounts } from '../work/parameter-counts.ts'
import { keepsInput, keptBytes, recomputedBytes, recomputeOf } from '../work/recomputation.ts'
import { type PipelineStage, stageCounts, type Workload } from '../work/stages.ts'
import { gatheredParts, pipelineBytes } from './fsdp.ts'
import { ownerLoad } from './owners.ts'
import { gatheredBytes, gradientBytes, stateBytes } from './state.ts'

export const memoryKinds = [
  'weights',
  'gradients',
  'optimizer',
  'attention activations',
  'router activations',
  'expert activations',
  'dense activations',
  'layer inputs',
  'offload buffers',
  'dispatch buffers',
  'logits',
  'program',
  'communication',
  'fragmentation',
  'reserved',
] as const
export type MemoryKind = (typeof memoryKinds)[number]

export type BytesByKind = Readonly<Record<MemoryKind, number>>

export interface Memory {
  /** Bytes on a device of the stage that needs the most. */
  readonly device: BytesByKind
  readonly deviceBytes: number
  /** Bytes in host memory, per device. */
  readonly hostBytes: number
}

export const noBytes = () => Object.fromEntries(memoryKinds.map((kind) => [kind, 0])) as Record<MemoryKind, number>

/** Share of the memory allocated and freed in every step that is lost to gaps. */
const FRAGMENTATION = 0.05
/** Number of parameters whose gradients are exchanged together (the magnitude of Megatron's and PyTorch's buckets). */
const BUCKET_PARAMETERS = 25e6

const activationKind: Readonly<Record<ComponentKind, MemoryKind>> = {
  attention: 'attention activations',
  router: 'router activations',
  dispatch: 'router activations',
  experts: 'expert activations',
  dense: 'dense activations',
  embedding: 'dense activations',
  head: 'dense activations',
}

export function memoryOf(
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  counts: ParameterCounts,
  workload: Workload,
): Memory {
  const stages = workload.stages.map((stage) => stageMemory(run, cluster, layout, counts, workload, stage))
  const largest = stages.reduce((a, b) => (b.deviceBytes > a.deviceBytes ? b : a))
  return { ...largest, hostBytes: Math.max(...stages.map(({ hostBytes }) => hostBytes)) }
}

function stageMemory(
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  counts: ParameterCounts,
  { slice, stages }: Workload,
  stage: PipelineStage,
): Memory {
  const { plan } = run
  const own = stageCounts(counts, stage, layout.pipeline)
  const state = stateBytes(run, layout, addCounts(own))
  const device = { ...noBytes(), reserved: cluster.device.reserved }
  let hostBytes = 0
  const add = (kind: MemoryKind, bytes: number, offloaded: boolean) => {
    if (offloaded) hostBytes += bytes
    else device[kind] += bytes
  }
  add('weights', state.weights, layout.offload === 'all')
  add('gradients', keptGradients(run, layout, state.gradients, own.length), layout.offload === 'all')
  add('optimizer', state.optimizer * ownerImbalance(run, layout, cluster), layout.offload !== 'none')

  const inFlight = microBatchesInFlight(layout, stage.index)
  const stays = 1 - plan.offloadActivations
  for (const [i, { components, inputBytes }] of stage.layers.entries()) {
    const recompute = recomputeOf(run.plan, layout, i)
    if (keepsInput(recompute)) device['layer inputs'] += stays * inFlight * inputBytes
    for (const component of components)
      device[activationKind[component.kind]] += stays * inFlight * keptBytes(component, recompute)
  }
  const offloaded = stageOffloadBytes(run, layout, stage)
  hostBytes += inFlight * offloaded.reduce((sum, bytes) => sum + bytes, 0)
  // While one layer is computed, the activations of another one move.
  device['offload buffers'] = Math.min(2, inFlight * stage.layers.length) * Math.max(0, ...offloaded)
  if (stage.index === stages.length - 1) device.logits = logitsBytes(slice)
  // The backward pass recomputes one layer at a time.
  const recomputed = largestRecomputation(stage, layout.recompute)
  // PyTorch frees the logits before the last layer's backward pass.
  const isFreed = isFsdp(run) && device.logits > 0
  if (isFreed && device.logits < recomputed.reduce((sum, { bytes }) => sum + bytes, 0)) device.logits = 0
  if (!isFreed || device.logits === 0) for (const { kind, bytes } of recomputed) device[activationKind[kind]] += bytes
  for (const end of stage.ends) device[activationKind[end.kind]] += end.keptBytes
  const forPipeline = isFsdp(run) ? pipelineBytes(slice, layout, stage, inFlight) : { logits: 0, communication: 0 }
  device.logits += forPipeline.logits

  // There is a send and a receive buffer, for one layer at a time.
  const sent = stage.layers.flatMap(({ components }) => components.flatMap(({ allToAlls }) => allToAlls))
  device['dispatch buffers'] = 2 * Math.max(0, ...sent)
  // Keys and values of other parts of the sequence arrive for one layer at a time.
  const contextBytes = stage.layers.flatMap(({ components }) => components.map((each) => each.contextBytes))
  device['attention activations'] += Math.max(0, ...contextBytes)
  device.communication = isFsdp(run)
    ? gatheredParts(run, layout, own.slice(0, stage.layers.length), own.slice(stage.layers.length)) +
      forPipeline.communication
    : communicationBytes(run, layout, own)

  const transient = memoryKinds.filter((kind) => /activations|inputs|buffers|logits/.test(kind))
  device.fragmentation = FRAGMENTATION * transient.reduce((sum, kind) => sum + device[kind], 0)
  return { device, deviceBytes: total(device), hostBytes }
}

/** State of the busiest owner over the mean; collectives divide state evenly. */
const ownerImbalance = (run: PlannedRun, layout: Layout, cluster: Cluster): number =>
  run.plan.exchange === 'owners' && layout.zero > 0 ? ownerLoad(run, layout, cluster).imbalance : 1

/**
 * Bytes of gradients held at once. The host applies offloaded gradients as they arrive, a layer at a time, unless it
 * needs all of them first, for the sum over micro-batches or for their norm.
 */
function keptGradients(
  { train }: PlannedRun,
  { offload, microBatches }: Layout,
  bytes: number,
  layers: number,
): number {
  const streamed = offload === 'all' && microBatches === 1 && train.optimizer.clip === 0
  return streamed ? (2 * bytes) / Math.max(2, layers) : bytes
}

export const total = (bytes: Readonly<Record<string, number>>): number =>
  Object.values(bytes).reduce((sum, each) => sum + each, 0)

/**
 * Number of micro-batches whose activations stage r of p keeps, each with all layers of the stage. A 1F1B schedule
 * keeps p − r (Narayanan et al. 2021, section 2.2). With v virtual stages, a micro-batch passes each of the v parts of
 * a stage on its own, and a rank starts 2·(p − r − 1) + (v − 1)·p parts before its first backward pass (Megatron-LM's
 * warm-up). From then on it keeps at most one part more. Each part is a v-th of the stage.
 */
export function microBatchesInFlight(
  { pipeline, virtualStages, microBatches }: Pick<Layout, 'pipeline' | 'virtualStages' | 'microBatches'>,
  stage: number,
): number {
  if (virtualStages === 1) return Math.min(microBatches, pipeline - stage)
  const warmUp = 2 * (pipeline - stage - 1) + (virtualStages - 1) * pipeline
  return Math.min(microBatches, (warmUp + 1) / virtualStages)
}

/** Bytes of a layer's activations that move to host memory, for one micro-batch. */
const offloadedBytes = ({ plan }: PlannedRun, recompute: Recompute, layer: LayerWork): number =>
  plan.offloadActivations === 0
    ? 0
    : plan.offloadActivations *
      layer.components.reduce(
        (sum, component) => sum + keptBytes(component, recompute),
        keepsInput(recompute) ? layer.inputBytes : 0,
      )

/** Bytes of {@link offloadedBytes} of each layer of a stage. */
export const stageOffloadBytes = (run: PlannedRun, layout: Layout, { layers }: PipelineStage): number[] =>
  layers.map((layer, i) => offloadedBytes(run, recomputeOf(run.plan, layout, i), layer))

/** Recomputed activations of the layer that has most of them. */
function largestRecomputation(
  { layers }: PipelineStage,
  recompute: Layout['recompute'],
): { kind: ComponentKind; bytes: number }[] {
  if (recompute === 'none') return []
  const recomputed = layers.map(({ components }) =>
    recomputedBytes(components, recompute).map((bytes, i) => ({ kind: components[i]?.kind ?? 'dense', bytes })),
  )
  const size = (layer: { bytes: number }[]) => layer.reduce((sum, { bytes }) => sum + bytes, 0)
  return recomputed.reduce((a, b) => (size(b) > size(a) ? b : a), [])
}

/**
 * Bytes of buffers for gradients being exchanged and, if weights are sharded or offloaded, for two gathered layers.
 * ZeRO 3 shards the weights of experts only if several ranks hold them.
 */
function communicationBytes(run: PlannedRun, layout: Layout, own: readonly PartCounts[]): number {
  const { expert, tensor, expertTensor, zero, offload } = layout
  const ranks = tokenRanks(layout)
  const withExperts = offload === 'all' || expertCopies(layout) > 1
  const twoLayers = (bytes: (count: Count) => number) =>
    2 *
    Math.max(
      ...own.map(
        ({ dense, experts }) => bytes(dense) / tensor + (withExperts ? bytes(experts) / expert / expertTensor : 0),
      ),
    )
  const gathered = zero === 3 || offload === 'all' ? twoLayers((count) => gatheredBytes(run, count)) : 0
  // Gradients of these layers, on their way to the host.
  const leaving = offload === 'all' ? twoLayers(({ parameters }) => gradientBytes(run) * parameters) : 0
  const { dense, experts } = addCounts(own)
  const parameters = dense.parameters / tensor + experts.parameters / expertTensor / expert
  // `both` is Megatron-LM of 2021, which copied all gradients into one tensor for the exchange.
  const flat = run.plan.gradients === 'both' && zero === 0
  const exchanged = flat ? parameters : ranks > 1 ? Math.min(BUCKET_PARAMETERS, parameters) : 0
  return gathered + leaving + exchanged * gradientBytes(run)
}
