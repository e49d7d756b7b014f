/**
 * Bytes on one device, by kind, in the pipeline stage that needs the most. With uneven loads, the device is assumed to
 * have the rows of the busiest rank in every layer, which is an upper bound.
 */
import { describeModel } from '../../../core/model/describe.ts'
import { stateNumbers } from '../../../train/step/optimizer/own-rule.ts'
import type { Cluster } from '../inputs/cluster.ts'
import { optimizerOf, type PlannedRun, storedBytes } from '../inputs/settings.ts'
import { expertCopies, type Layout, tokenRanks } from '../search/layout.ts'
import type { ComponentKind } from '../work/components.ts'
import { type LayerWork, logitsBytes } from '../work/layer-work.ts'
import { addCounts, type Count, type ParameterCounts, type PartCounts } from '../work/parameter-counts.ts'
import { keptBytes, recomputedBytes } from '../work/recomputation.ts'
import { type PipelineStage, stageCounts, type Workload } from '../work/stages.ts'
import { ownerLoad } from './owners.ts'

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

  const inFlight = microBatchesInFlight(layout, plan.virtualStages, stage.index)
  const stays = 1 - plan.offloadActivations
  for (const { components, inputBytes } of stage.layers) {
    if (layout.recompute === 'full') device['layer inputs'] += stays * inFlight * inputBytes
    for (const component of components)
      device[activationKind[component.kind]] += stays * inFlight * keptBytes(component, layout.recompute)
  }
  const offloaded = stage.layers.map((layer) => offloadedBytes(run, layout, layer))
  hostBytes += inFlight * offloaded.reduce((sum, bytes) => sum + bytes, 0)
  // While one layer is computed, the activations of another one move.
  device['offload buffers'] = Math.min(2, inFlight * stage.layers.length) * Math.max(0, ...offloaded)
  // The backward pass recomputes one layer at a time.
  for (const { kind, bytes } of largestRecomputation(stage, layout.recompute)) device[activationKind[kind]] += bytes
  for (const end of stage.ends) device[activationKind[end.kind]] += end.keptBytes

  // There is a send and a receive buffer, for one layer at a time.
  const sent = stage.layers.flatMap(({ components }) => components.flatMap(({ allToAlls }) => allToAlls))
  device['dispatch buffers'] = 2 * Math.max(0, ...sent)
  if (stage.index === stages.length - 1) device.logits = logitsBytes(slice)
  // Keys and values of other parts of the sequence arrive for one layer at a time.
  const contextBytes = stage.layers.flatMap(({ components }) => components.map((each) => each.contextBytes))
  device['attention activations'] += Math.max(0, ...contextBytes)
  device.communication = communicationBytes(run, layout, own)

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
  { pipeline, microBatches }: Pick<Layout, 'pipeline' | 'microBatches'>,
  virtualStages: number,
  stage: number,
): number {
  if (virtualStages === 1) return Math.min(microBatches, pipeline - stage)
  const warmUp = 2 * (pipeline - stage - 1) + (virtualStages - 1) * pipeline
  return Math.min(microBatches, (warmUp + 1) / virtualStages)
}

/** Bytes of a layer's activations that move to host memory, for one micro-batch. */
export const offloadedBytes = ({ plan }: PlannedRun, { recompute }: Layout, layer: LayerWork): number =>
  plan.offloadActivations === 0
    ? 0
    : plan.offloadActivations *
      layer.components.reduce(
        (sum, component) => sum + keptBytes(component, recompute),
        recompute === 'full' ? layer.inputBytes : 0,
      )

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
 * Bytes of weights, gradients and optimizer state on a device, with ZeRO sharding (Rajbhandari et al. 2020, figure 1).
 */
export function stateBytes(run: PlannedRun, layout: Layout, { dense, experts }: { dense: Count; experts: Count }) {
  const { expert, tensor, expertTensor, zero } = layout
  const optimizer = optimizerBytes(run)
  const sizes = {
    weights: (count: Count) => weightBytes(run, count),
    gradients: ({ parameters }: Count) => (gradientBytes(run) + (run.plan.gradients === 'both' ? 4 : 0)) * parameters,
    optimizer: ({ parameters, factored }: Count) =>
      parameters > 0 ? optimizer(factored / parameters) * parameters : 0,
  }
  const shardedFrom = { weights: 3, gradients: 2, optimizer: 1 }
  const bytes = (kind: keyof typeof sizes) => {
    const shards =
      zero >= shardedFrom[kind]
        ? { dense: tokenRanks(layout), experts: expertCopies(layout) }
        : { dense: 1, experts: 1 }
    const unsharded = sizes[kind]
    return unsharded(dense) / tensor / shards.dense + unsharded(experts) / expertTensor / expert / shards.experts
  }
  return { weights: bytes('weights'), gradients: bytes('gradients'), optimizer: bytes('optimizer') }
}

/**
 * Bytes of a stored float8 weight. Products of the backward pass read a transposed weight. Blocks of 32 numbers with a
 * scale (mxfp8) run along the depth of a product, so a weight has a copy for each direction; a scale for a whole tensor
 * or square block does not need that.
 */
const float8WeightBytes = { float8: 1, mxfp8: 2 * (1 + 1 / 32) }

/** Bytes of stored weights. */
function weightBytes({ plan }: PlannedRun, { parameters, multiplied }: Count): number {
  const wide = storedBytes(plan.precision)
  return plan.weights === 'precision'
    ? wide * parameters
    : wide * (parameters - multiplied) + float8WeightBytes[plan.weights] * multiplied
}

/**
 * Bytes of weights that ranks gather from each other. The two copies of mxfp8 are made after the weights have arrived in
 * 16 bits.
 */
export function gatheredBytes({ plan }: PlannedRun, { parameters, multiplied }: Count): number {
  const wide = storedBytes(plan.precision)
  return plan.weights === 'float8' ? wide * (parameters - multiplied) + multiplied : wide * parameters
}

/** Bytes of a checkpoint: the weights that the optimizer updates, and its state. */
export function checkpointBytesOf(run: PlannedRun, { layers, embedding, head, total }: ParameterCounts): number {
  const { dense, experts } = addCounts([...layers, embedding, head])
  const state = optimizerBytes(run)((dense.factored + experts.factored) / total)
  return total * (state + (hasMaster(run) ? 0 : storedBytes(run.plan.precision)))
}

/** Whether the optimizer has float32 originals of the weights. */
const hasMaster = ({ plan }: PlannedRun): boolean => plan.master && storedBytes(plan.precision) === 2

/** Bytes of an exchanged gradient, per parameter. */
export const gradientBytes = ({ plan }: PlannedRun): number =>
  plan.gradients === 'float32' ? 4 : storedBytes(plan.precision)

/** Precision of moments, which the plan sets or takes from the run. */
export const momentPrecision = ({ plan, train }: PlannedRun) => {
  const { state } = train.optimizer
  return plan.state ?? (state === 'bf16' ? 'bfloat16' : state)
}

/** Bytes of a moment. The bounds of blocks in 8 bits, a few percent, are left out. */
const momentBytes = { float32: 4, bfloat16: 2, int8: 1 }

/**
 * Bytes of optimizer state per parameter; `factored` is the mean number of values in the factored moment per parameter.
 */
function optimizerBytes(run: PlannedRun): (factored: number) => number {
  const master = hasMaster(run) ? 4 : 0
  const moment = momentBytes[momentPrecision(run)]
  switch (optimizerOf(run)) {
    case 'adamw':
      return () => master + 2 * moment
    case 'adafactor':
      return (factored) => master + factored * moment
    case 'sgd':
      return () => master + moment
    case 'own':
      return () => master + ownNumbers(run) * moment
  }
}

/** Mean number of values in the state of an optimizer of the user's own, per parameter. */
function ownNumbers(run: PlannedRun): number {
  const numbers = knownNumbers.get(run) ?? stateNumbers(run) / describeModel(run.model).parameters
  knownNumbers.set(run, numbers)
  return numbers
}

/** Every layout of a search has the same. */
const knownNumbers = new WeakMap<PlannedRun, number>()

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
