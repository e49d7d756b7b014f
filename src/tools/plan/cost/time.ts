/**
 * The time of a step, by kind, on the slowest rank of the slowest pipeline stage. The kinds add up to the step.
 */
import { activatedExperts } from '../../../core/model/parameters.ts'
import type { Cluster } from '../inputs/cluster.ts'
import { isFsdp, optimizerOf, type PlannedRun, storedBytes } from '../inputs/settings.ts'
import { expertCopies, type Layout, shardsOf, tokenRanks } from '../search/layout.ts'
import type { Component, ComponentKind } from '../work/components.ts'
import type { LayerWork } from '../work/layer-work.ts'
import { addCounts, type ParameterCounts, type PartCounts } from '../work/parameter-counts.ts'
import { extentOf, repeatsExchanges } from '../work/recomputation.ts'
import { type PipelineStage, stageCounts, type Workload } from '../work/stages.ts'
import { type ComponentTimes, launchesOf } from './device-time.ts'
import { copiedBytes, gatherings as fsdpGatherings, reductions } from './fsdp.ts'
import { stageOffloadBytes } from './memory.ts'
import {
  allReduceSeconds,
  allToAllSeconds,
  type Dispatch,
  groupOf,
  reduceScatterSeconds,
  ringSeconds,
  sendSeconds,
} from './network.ts'
import { ownerLoad, ownerSeconds } from './owners.ts'
import { gatheredBytes, gradientBytes, stateBytes } from './state.ts'

export const timeKinds = [
  'attention',
  'router',
  'dispatch',
  'experts',
  'dense',
  'embedding',
  'head',
  'recomputation',
  'launches',
  'all-to-all',
  'tensor all-reduce',
  'context exchange',
  'gradient exchange',
  'weight gathering',
  'optimizer',
  'offload',
  'pipeline bubble',
] as const
export type TimeKind = (typeof timeKinds)[number]
export type SecondsByKind = Readonly<Record<TimeKind, number>>

export interface Time {
  /** Exposed time; the parts add up to the step. */
  readonly parts: SecondsByKind
  readonly stepSeconds: number
  /** Communication hidden by computation. */
  readonly overlappedSeconds: number
  /** Gradients that the busiest rank receives in a step. */
  readonly gradients: ReceivedGradients
}

export interface ReceivedGradients {
  readonly bytes: number
  /** The busiest rank, from 0; absent if collectives give all ranks of a stage equally many. */
  readonly rank?: number
}

type Seconds = Record<TimeKind, number>

const zeroes = (): Seconds => Object.fromEntries(timeKinds.map((kind) => [kind, 0])) as Seconds

export function timeOf(
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  counts: ParameterCounts,
  workload: Workload,
  times: ComponentTimes,
): Time {
  const stages = eachDistinct(workload.stages, isSameWork, (stage) =>
    microBatchSeconds(run, cluster, layout, workload, stage, times),
  )
  const slowest = stages.reduce((a, b) => (b.total > a.total ? b : a))
  const { microBatches } = layout
  const seconds = zeroes()
  for (const kind of timeKinds) seconds[kind] = microBatches * slowest.parts[kind]
  // The first micro-batch has to pass all stages and come back. Interleaved stages start sooner.
  const fill = stages.reduce((sum, { total }) => sum + total, 0) - slowest.total
  seconds['pipeline bubble'] += fill / layout.virtualStages

  const ends = eachDistinct(workload.stages, isSameWork, (stage) =>
    stepEnd(run, cluster, layout, stageCounts(counts, stage, layout.pipeline), stage.layers.length, slowest),
  )
  const end = ends.reduce((a, b) => (b.total > a.total ? b : a))
  seconds['gradient exchange'] += end.exchange.exposed
  seconds['weight gathering'] += end.gathering.exposed
  seconds.optimizer += end.optimizer
  seconds.offload += end.offload.exposed
  const stepSeconds = timeKinds.reduce((sum, kind) => sum + seconds[kind], 0)
  return {
    parts: seconds,
    stepSeconds,
    overlappedSeconds: microBatches * slowest.hidden + end.exchange.hidden + end.gathering.hidden + end.offload.hidden,
    gradients: ends.reduce((a, b) => (b.gradients.bytes > a.gradients.bytes ? b : a)).gradients,
  }
}

/** Exposed time of a micro-batch on the slowest rank of a stage. */
export interface StageTime {
  readonly parts: SecondsByKind
  /** Share of the time that the forward pass takes; exposed communication is shared out as computation is. */
  readonly forwardShare: number
}

/** The times of a micro-batch by stage, in the order of the layers. */
export const stageTimesOf = (
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  workload: Workload,
  times: ComponentTimes,
): StageTime[] =>
  eachDistinct(workload.stages, isSameWork, (stage) => {
    const { parts, forward, backward } = microBatchSeconds(run, cluster, layout, workload, stage, times)
    return { parts, forwardShare: forward / (forward + backward) }
  })

/** The results for all values. Equal values share a result. */
function eachDistinct<Value, Result>(
  values: readonly Value[],
  isSame: (a: Value, b: Value) => boolean,
  compute: (value: Value) => Result,
): Result[] {
  const known: { value: Value; result: Result }[] = []
  return values.map((value) => {
    const same = known.find((each) => isSame(each.value, value))
    if (same) return same.result
    const result = compute(value)
    known.push({ value, result })
    return result
  })
}

const isSameWork = (a: PipelineStage, b: PipelineStage): boolean =>
  a.ends.length === b.ends.length &&
  a.ends.every((end, i) => end === b.ends[i]) &&
  a.layers.length === b.layers.length &&
  a.layers.every((layer, i) => layer === b.layers[i])

interface MicroBatch {
  readonly parts: Seconds
  readonly total: number
  /** Compute time of the forward pass, which can hide communication. */
  readonly forward: number
  /** Compute time of the backward pass, which can hide communication. */
  readonly backward: number
  /** Seconds of communication that computation hides. */
  readonly hidden: number
  /** The part of `hidden` in which activations move to host memory and back. */
  readonly hosted: number
}

function microBatchSeconds(
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  { slice }: Workload,
  stage: PipelineStage,
  computed: ComponentTimes,
): MicroBatch {
  const parts = zeroes()
  let forward = 0
  let backward = 0
  let hidden = 0
  const { plan, model } = run
  const tensorGroup = groupOf(cluster, layout.tensor, 1)
  const contextGroup = groupOf(cluster, layout.context, layout.tensor)
  const expertGroup = groupOf(cluster, layout.expert, layout.expertTensor)
  const dispatch: Dispatch = {
    copies: model.moe ? activatedExperts(model.moe) : 1,
    oncePerNode: plan.dispatchTo === 'node',
    nodeLimit: plan.nodeLimit ?? Number.POSITIVE_INFINITY,
  }
  const starts = { forward: 0, backward: 0 }
  let allToAll = 0
  /** @param count number of layers with the component; 0 for embedding and head */
  const compute = (component: Component, count: number) => {
    const inLayer = count > 0
    const times = Math.max(1, count)
    const one = computed.of(component, slice.bytes)
    const seconds = { forward: times * one.forward, backward: times * one.backward }
    parts[component.kind satisfies ComponentKind] += seconds.forward + seconds.backward
    const extent = inLayer ? extentOf(component, layout.recompute) : 'nothing'
    const recomputed = { nothing: 0, part: one.part, operations: one.operations, whole: one.forward }[extent]
    const again = plan.recomputeLayers * times * recomputed
    parts.recomputation += again
    forward += seconds.forward
    backward += seconds.backward + again
    // A component communicates forward, backward, and once more if the exchange is recomputed.
    const rounds = 2 + (inLayer && repeatsExchanges(component, layout.recompute) ? plan.recomputeLayers : 0)
    if (component.tensorBytes > 0) {
      const summed = times * (inLayer ? rounds : 1) * allReduceSeconds(cluster, tensorGroup, component.tensorBytes)
      hidden += plan.tensorOverlap * summed
      parts['tensor all-reduce'] += (1 - plan.tensorOverlap) * summed
    }
    if (component.contextBytes > 0) {
      // Keys and values pass again in the backward pass, and their gradients too.
      const passed = times * (rounds + 1) * ringSeconds(cluster, contextGroup, component.contextBytes)
      const { exposed, hidden: covered } = hide(passed, plan.contextOverlap * (seconds.forward + seconds.backward))
      hidden += covered
      parts['context exchange'] += exposed
    }
    for (const bytes of component.allToAlls)
      allToAll += times * rounds * allToAllSeconds(cluster, expertGroup, bytes, dispatch)
    const launches = launchesOf(component)
    starts.forward += times * launches.forward
    starts.backward += times * (launches.backward + (extent === 'whole' ? plan.recomputeLayers * launches.forward : 0))
  }
  for (const { components, count } of layersByKind(stage)) for (const component of components) compute(component, count)
  for (const component of stage.ends) compute(component, 0)
  // The device waits for a host that starts kernels more slowly than they run.
  const start = plan.graphs ? 0 : cluster.device.launch
  const waits = {
    forward: Math.max(0, starts.forward * start - forward),
    backward: Math.max(0, starts.backward * start - backward),
  }
  parts.launches += waits.forward + waits.backward
  forward += waits.forward
  backward += waits.backward
  const others = layout.microBatches > 1 ? plan.allToAllOverlap * (forward + backward) : 0
  const { exposed, hidden: covered } = hide(allToAll, others)
  parts['all-to-all'] += exposed
  hidden += covered
  const moved = plan.offloadActivations > 0 ? hostSeconds(run, cluster, layout, stage) : 0
  // Activations leave while the forward pass computes, and return while the backward pass does.
  const [leaving, returning] = [hide(moved, plan.overlap * forward), hide(moved, plan.overlap * backward)]
  parts.offload += leaving.exposed + returning.exposed
  const hosted = leaving.hidden + returning.hidden
  hidden += hosted
  if (layout.pipeline > 1) {
    const boundary = (stage.layers[0]?.inputBytes ?? 0) / (plan.sequenceParallel ? 1 : layout.tensor)
    const stride = tokenRanks(layout) * layout.tensor
    parts['pipeline bubble'] += 2 * layout.virtualStages * sendSeconds(cluster, stride * layout.pipeline, boundary)
  }
  return { parts, total: timeKinds.reduce((sum, kind) => sum + parts[kind], 0), forward, backward, hidden, hosted }
}

/** Seconds in which the activations of a micro-batch move to host memory; they return in the same time. */
function hostSeconds(run: PlannedRun, { links: { host } }: Cluster, layout: Layout, stage: PipelineStage): number {
  if (!host) throw new Error('internal: no link to the host')
  const bytes = stageOffloadBytes(run, layout, stage)
  return bytes.reduce((sum, each) => sum + each, 0) / (host.bandwidth * host.efficiency)
}

/** Components of each kind of layer, and the number of such layers. */
function layersByKind({ layers }: PipelineStage): { components: readonly Component[]; count: number }[] {
  const counts = new Map<LayerWork, number>()
  for (const layer of layers) counts.set(layer, (counts.get(layer) ?? 0) + 1)
  return [...counts].map(([{ components }, count]) => ({ components, count }))
}

interface Overlap {
  readonly exposed: number
  readonly hidden: number
}

/** Hides up to `available` of the seconds. */
const hide = (seconds: number, available: number): Overlap => {
  const hidden = Math.min(seconds, available)
  return { exposed: seconds - hidden, hidden }
}

/** Costs of a step outside micro-batches: exchange of gradients, gathering of weights (ZeRO), optimizer, offloading. */
function stepEnd(
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  own: readonly PartCounts[],
  layers: number,
  { forward, backward, hosted: activationSeconds }: MicroBatch,
) {
  const { expert, tensor, expertTensor, zero, microBatches } = layout
  const { dense, experts } = addCounts(own)
  const local = { dense: dense.parameters / tensor, experts: experts.parameters / expertTensor / expert }
  const copies = { dense: tokenRanks(layout), experts: expertCopies(layout) }
  const shards = zero >= 1 ? shardsOf(run, layout) : { dense: 1, experts: 1 }
  const stride = { dense: tensor, experts: expertTensor * expert }
  // Dense gradients are summed over all ranks with other tokens, gradients of an expert over the ranks that hold it.
  const sharding = (part: keyof typeof local) => groupOf(cluster, shards[part], stride[part])
  const replicas = (part: keyof typeof local) =>
    groupOf(cluster, copies[part] / shards[part], stride[part] * shards[part])
  const both = (seconds: (part: keyof typeof local) => number) => seconds('dense') + seconds('experts')
  const gradient = gradientBytes(run)
  const weight = storedBytes(run.plan.precision)
  const gathered = {
    dense: gatheredBytes(run, dense) / tensor,
    experts: gatheredBytes(run, experts) / expertTensor / expert,
  }
  // Sharded gradients are exchanged for every micro-batch, whole gradients once a step.
  const fsdp = isFsdp(run)
  const rounds = fsdp ? reductions(layout) : zero >= 2 ? microBatches : 1
  const owners = run.plan.exchange === 'owners' && zero > 0 ? ownerLoad(run, layout, cluster) : null
  // Groups with copies of each other add up the shards of gradients.
  const collectiveSeconds = both(
    (part) =>
      reduceScatterSeconds(cluster, sharding(part), local[part] * gradient) +
      allReduceSeconds(cluster, replicas(part), (local[part] / shards[part]) * gradient),
  )
  const exchangeSeconds = owners ? ownerSeconds(cluster, owners, gradient) : collectiveSeconds
  const gatherSeconds = owners
    ? ownerSeconds(cluster, owners, weight)
    : both((part) => reduceScatterSeconds(cluster, sharding(part), gathered[part]))
  // ZeRO 1 and 2 gather the updated weights once a step, ZeRO 3 gathers all weights forward and backward.
  const gatherings = fsdp ? fsdpGatherings(layout, own, layers) : zero === 3 ? 2 * microBatches : zero > 0 ? 1 : 0
  const { overlap } = run.plan
  const exchange = hide(rounds * exchangeSeconds, overlap * rounds * backward)
  const computed = zero === 3 ? microBatches * (forward + backward) : forward
  const available = Math.max(0, overlap * computed - (zero === 3 ? exchange.hidden : 0))
  const gathering = hide(gatherings * gatherSeconds, available)
  const copied = fsdp ? copiedBytes(run) : { gathered: 0, reduced: 0 }
  const copySeconds = (bytes: number) =>
    (bytes * both((part) => local[part])) / (cluster.device.bandwidth * cluster.device.bandwidthEfficiency)
  const copying = { gathered: gatherings * copySeconds(copied.gathered), reduced: rounds * copySeconds(copied.reduced) }

  const updated = { dense: local.dense / shards.dense, experts: local.experts / shards.experts }
  const state = stateBytes(run, layout, { dense, experts })
  const count = both((part) => updated[part]) * (owners?.imbalance ?? 1)
  // The state is read and written, gradients are read (once more for their norm), weights are written.
  // Clipping reads and writes FSDP's gradients once more by itself, and its weights are the originals.
  const traffic =
    2 * state.optimizer * (owners?.imbalance ?? 1) +
    (fsdp ? 2 * state.weights + 4 * state.gradients : count * (2 * gradient + 2 * weight)) +
    adafactorPasses(run) * count * gradient
  const { optimizer, traffic: hosted } = updateSeconds(run, cluster, layout, {
    traffic,
    count,
    local: local.dense + local.experts,
    weights: gathered.dense + gathered.experts,
  })
  // Weights and gradients are transferred while layers are computed; an offloaded update waits for its gradients.
  const offload = hide(
    hosted,
    layout.offload === 'all' ? Math.max(0, microBatches * (overlap * (forward + backward) - activationSeconds)) : 0,
  )
  // In a ring, (n − 1)/n of the bytes reach every rank, and once more if all get the sum.
  const collectiveBytes = both((part) => ((copies[part] - 1) / copies[part]) * local[part] * gradient)
  const gradients: ReceivedGradients = owners
    ? { bytes: owners.received * gradient, rank: owners.rank }
    : { bytes: rounds * (zero >= 1 ? 1 : 2) * collectiveBytes }
  const exposed = { exchange: exchange.exposed + copying.reduced, gathering: gathering.exposed + copying.gathered }
  return {
    exchange: { ...exchange, exposed: exposed.exchange },
    gathering: { ...gathering, exposed: exposed.gathering },
    gradients,
    optimizer,
    offload,
    total: exposed.exchange + exposed.gathering + optimizer + offload.exposed,
  }
}

/**
 * Passes over gradients that Adafactor makes before the update: for row and column means, and for the update's size.
 */
const adafactorPasses = (run: PlannedRun): number => (optimizerOf(run) === 'adafactor' ? 2 : 0)

/** Seconds of the update, on the device or on the host, and of the traffic between the two. */
function updateSeconds(
  run: PlannedRun,
  cluster: Cluster,
  { offload, microBatches }: Layout,
  { traffic, count, local, weights }: { traffic: number; count: number; local: number; weights: number },
): { optimizer: number; traffic: number } {
  const { host } = cluster.links
  if (offload === 'none' || !host) {
    const { bandwidth, updateEfficiency } = cluster.device
    return { optimizer: traffic / (bandwidth * updateEfficiency), traffic: 0 }
  }
  const link = host.bandwidth * host.efficiency
  const weight = storedBytes(run.plan.precision)
  // A device's share of the host's memory bandwidth is assumed to equal the bandwidth of its link.
  const update = traffic / link
  if (offload === 'optimizer') return { optimizer: update, traffic: (count * (gradientBytes(run) + weight)) / link }
  return { optimizer: update, traffic: (microBatches * (2 * weights + local * gradientBytes(run))) / link }
}
