/**
 * Bytes on one device, by kind: of the stage that needs the most. With uneven loads a device is taken to have the
 * busiest rank's rows in every layer, which is the most that one can have.
 */
import type { Cluster } from '../inputs/cluster.ts'
import { type PlannedRun, storedBytes } from '../inputs/settings.ts'
import type { Layout } from '../search/layout.ts'
import type { ComponentKind } from '../work/components.ts'
import { addParts, type Count, type Part, type Parts } from '../work/parts.ts'
import { type PipelineStage, stageParts, type Workload } from '../work/stages.ts'
import { logitsBytes } from '../work/work.ts'

export const memoryKinds = [
  'weights',
  'gradients',
  'optimizer',
  'attention activations',
  'router activations',
  'expert activations',
  'dense activations',
  'layer inputs',
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
  /** On a device of the stage that needs the most. */
  readonly device: BytesByKind
  readonly deviceBytes: number
  /** In the host's memory, for each device. */
  readonly hostBytes: number
}

/** Share of what is allocated and freed in every step that an allocator loses in gaps. */
const FRAGMENTATION = 0.05
/** Gradients that are exchanged together (Megatron's and PyTorch's buckets are of this order). */
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

export function memoryOf(run: PlannedRun, cluster: Cluster, layout: Layout, parts: Parts, workload: Workload): Memory {
  const stages = workload.stages.map((stage) => stageMemory(run, cluster, layout, parts, workload, stage))
  const largest = stages.reduce((a, b) => (b.deviceBytes > a.deviceBytes ? b : a))
  return { ...largest, hostBytes: Math.max(...stages.map(({ hostBytes }) => hostBytes)) }
}

function stageMemory(
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  parts: Parts,
  { slice, stages }: Workload,
  stage: PipelineStage,
): Memory {
  const { plan } = run
  const own = stageParts(parts, stage, layout.pipeline)
  const state = stateBytes(run, layout, addParts(own))
  const device: Record<MemoryKind, number> = {
    ...(Object.fromEntries(memoryKinds.map((kind) => [kind, 0])) as Record<MemoryKind, number>),
    reserved: cluster.device.reserved,
  }
  let hostBytes = 0
  const place = (kind: MemoryKind, bytes: number, offloaded: boolean) => {
    if (offloaded) hostBytes += bytes
    else device[kind] += bytes
  }
  place('weights', state.weights, layout.offload === 'all')
  place('gradients', keptGradients(run, layout, state.gradients, own.length), layout.offload === 'all')
  place('optimizer', state.optimizer, layout.offload !== 'none')

  const flying = microBatchesInFlight(layout, plan.virtualStages, stage.index)
  for (const { blocks, inputBytes } of stage.layers) {
    if (layout.recompute === 'full') device['layer inputs'] += flying * inputBytes
    else
      for (const { kind, keptBytes, scoresBytes } of blocks)
        device[activationKind[kind]] += flying * (keptBytes - (layout.recompute === 'selective' ? scoresBytes : 0))
  }
  // One layer at a time is whole again in the backward pass, or its scores are.
  const whole = largestLayer(stage, layout.recompute)
  for (const { kind, bytes } of whole) device[activationKind[kind]] += bytes
  for (const { kind, keptBytes } of stage.ends) device[activationKind[kind]] += keptBytes

  // Sent and received, of one layer at a time.
  const exchanged = stage.layers.flatMap(({ blocks }) => blocks.flatMap(({ exchanges }) => exchanges))
  device['dispatch buffers'] = 2 * Math.max(0, ...exchanged)
  if (stage.index === stages.length - 1) device.logits = logitsBytes(slice)
  device.communication = communicationBytes(run, layout, own)

  const transient = memoryKinds.filter((kind) => /activations|inputs|buffers|logits/.test(kind))
  device.fragmentation = FRAGMENTATION * transient.reduce((sum, kind) => sum + device[kind], 0)
  return { device, deviceBytes: total(device), hostBytes }
}

/**
 * Offloaded gradients are applied on the host as they come, a layer at a time, unless something waits for all of
 * them: the sum over micro-batches, or their norm.
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

/** Micro-batches whose activations a stage keeps: one forward, one backward in turn (Narayanan et al. 2021, section 2.2). */
function microBatchesInFlight({ pipeline, microBatches }: Layout, virtualStages: number, stage: number): number {
  const interleaved = virtualStages > 1 ? (pipeline - 1) / virtualStages : 0
  return Math.min(microBatches, pipeline - stage + interleaved)
}

/** What recomputation brings back of the layer for which that is the most. */
function largestLayer(
  { layers }: PipelineStage,
  recompute: Layout['recompute'],
): { kind: ComponentKind; bytes: number }[] {
  if (recompute === 'none') return []
  const again = layers.map(({ blocks }) =>
    blocks.map(({ kind, keptBytes, scoresBytes }) => ({ kind, bytes: recompute === 'full' ? keptBytes : scoresBytes })),
  )
  const size = (layer: { bytes: number }[]) => layer.reduce((sum, { bytes }) => sum + bytes, 0)
  return again.reduce((a, b) => (size(b) > size(a) ? b : a), [])
}

/** Weights, gradients and optimizer state of a device, after what ZeRO divides (Rajbhandari et al. 2020, figure 1). */
export function stateBytes(run: PlannedRun, layout: Layout, { dense, experts }: { dense: Count; experts: Count }) {
  const { data, expert, tensor, zero } = layout
  const weight = storedBytes(run.plan.precision)
  const sizes = {
    weights: () => weight,
    gradients: () => gradientBytes(run) + (run.plan.gradients === 'both' ? 4 : 0),
    optimizer: optimizerBytes(run),
  }
  const divided = { weights: 3, gradients: 2, optimizer: 1 }
  const bytes = (kind: keyof typeof sizes) => {
    const share = zero >= divided[kind] ? { dense: data, experts: data / expert } : { dense: 1, experts: 1 }
    const of = (count: Count) =>
      sizes[kind](count.parameters > 0 ? count.factored / count.parameters : 0) * count.parameters
    return of(dense) / tensor / share.dense + of(experts) / tensor / expert / share.experts
  }
  return { weights: bytes('weights'), gradients: bytes('gradients'), optimizer: bytes('optimizer') }
}

/** Bytes of a gradient as it is exchanged. */
export const gradientBytes = ({ plan }: PlannedRun): number =>
  plan.gradients === 'float32' ? 4 : storedBytes(plan.precision)

export const optimizerKind = ({ plan, train }: PlannedRun) => plan.optimizer ?? train.optimizer.kind

const momentBytes = { float32: 4, bfloat16: 2, int8: 1 }

/** Bytes a parameter, of parameters that have `factored` values of rows and columns each on average. */
function optimizerBytes(run: PlannedRun): (factored: number) => number {
  const { plan } = run
  const master = plan.master && storedBytes(plan.precision) === 2 ? 4 : 0
  const moment = momentBytes[plan.state]
  switch (optimizerKind(run)) {
    case 'adamw':
      return () => master + 2 * moment
    case 'adafactor':
      return (factored) => master + factored * moment
    case 'sgd':
      return () => master + moment
  }
}

/**
 * Gradients under way, and the two layers that are whole where weights are divided or offloaded. ZeRO 3 divides the
 * weights of experts only where several ranks hold them.
 */
function communicationBytes(run: PlannedRun, layout: Layout, parts: readonly Part[]): number {
  const { data, expert, tensor, zero, offload } = layout
  const weight = storedBytes(run.plan.precision)
  const largest = (ofExperts: boolean) =>
    Math.max(
      ...parts.map(({ dense, experts }) => (dense.parameters + (ofExperts ? experts.parameters / expert : 0)) / tensor),
    )
  const whole = 2 * largest(offload === 'all' || data > expert)
  const gathered = zero === 3 || offload === 'all' ? whole * weight : 0
  // Gradients of the layers under way, on their way to the host.
  const leaving = offload === 'all' ? whole * gradientBytes(run) : 0
  const all = addParts(parts)
  const own = all.dense.parameters / tensor + all.experts.parameters / tensor / expert
  // Megatron-LM of 2021, whose gradients `both` is, copied all of them into one tensor to exchange them.
  const flat = run.plan.gradients === 'both' && zero === 0
  const exchanged = flat ? own : data > 1 ? Math.min(BUCKET_PARAMETERS, own) : 0
  return gathered + leaving + exchanged * gradientBytes(run)
}
