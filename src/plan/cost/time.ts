/**
 * Seconds of a step, by kind. What every kind costs is that of the slowest stage and, in it, of the slowest rank;
 * all parts together are the step.
 */
import type { Cluster } from '../inputs/cluster.ts'
import { type PlannedRun, storedBytes } from '../inputs/settings.ts'
import type { Layout } from '../search/layout.ts'
import type { Component, ComponentKind } from '../work/components.ts'
import { addParts, type Part, type Parts } from '../work/parts.ts'
import { type PipelineStage, stageParts, type Workload } from '../work/stages.ts'
import type { BlockTimes } from './device-time.ts'
import { gradientBytes, optimizerKind, stateBytes } from './memory.ts'
import { allReduceSeconds, allToAllSeconds, groupOf, reduceScatterSeconds, sendSeconds } from './network.ts'

export const timeKinds = [
  'attention',
  'router',
  'dispatch',
  'experts',
  'dense',
  'embedding',
  'head',
  'recomputation',
  'all-to-all',
  'tensor all-reduce',
  'gradient exchange',
  'weight gathering',
  'optimizer',
  'offload',
  'pipeline bubble',
] as const
export type TimeKind = (typeof timeKinds)[number]
export type SecondsByKind = Readonly<Record<TimeKind, number>>

export interface Time {
  /** Exposed: the parts add up to the step. */
  readonly parts: SecondsByKind
  readonly stepSeconds: number
  /** Communication that happens while something else is computed. */
  readonly overlappedSeconds: number
}

type Seconds = Record<TimeKind, number>

const none = (): Seconds => Object.fromEntries(timeKinds.map((kind) => [kind, 0])) as Seconds

export function timeOf(
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  parts: Parts,
  workload: Workload,
  times: BlockTimes,
): Time {
  const stages = workload.stages.map((stage) => microBatchSeconds(run, cluster, layout, workload, stage, times))
  const slowest = stages.reduce((a, b) => (b.total > a.total ? b : a))
  const { microBatches } = layout
  const seconds = none()
  for (const kind of timeKinds) seconds[kind] = microBatches * slowest.parts[kind]
  // The first micro-batch has to reach the last stage and come back; interleaved stages begin sooner.
  const fill = stages.reduce((sum, { total }) => sum + total, 0) - slowest.total
  seconds['pipeline bubble'] += fill / run.plan.virtualStages

  const ends = workload.stages.map((stage) =>
    stepEnd(run, cluster, layout, stageParts(parts, stage, layout.pipeline), microBatches, slowest),
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
  }
}

interface MicroBatch {
  readonly parts: Seconds
  readonly total: number
  /** The part that is computed, forward and backward: what communication can hide behind. */
  readonly forward: number
  readonly backward: number
  /** Exchanges of tensor parallelism that happen beside products. */
  readonly hidden: number
}

function microBatchSeconds(
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  { slice }: Workload,
  stage: PipelineStage,
  times: BlockTimes,
): MicroBatch {
  const parts = none()
  let forward = 0
  let backward = 0
  let hidden = 0
  const tensorGroup = groupOf(cluster, layout.tensor, 1)
  const expertGroup = groupOf(cluster, layout.expert, layout.tensor)
  const compute = (block: Component, again: boolean) => {
    const seconds = times.of(block, slice.bytes)
    parts[block.kind satisfies ComponentKind] += seconds.forward + seconds.backward
    const once = again && layout.recompute === 'full' ? seconds.forward : 0
    const scores = again && layout.recompute === 'selective' ? seconds.scores : 0
    parts.recomputation += once + scores
    forward += seconds.forward
    backward += seconds.backward + once + scores
    // Once forward, once backward, and once when all is computed again.
    const rounds = again && layout.recompute === 'full' ? 3 : 2
    if (block.tensorBytes > 0) {
      const summed = (again ? rounds : 1) * allReduceSeconds(cluster, tensorGroup, block.tensorBytes)
      hidden += run.plan.tensorOverlap * summed
      parts['tensor all-reduce'] += (1 - run.plan.tensorOverlap) * summed
    }
    for (const bytes of block.exchanges) parts['all-to-all'] += rounds * allToAllSeconds(cluster, expertGroup, bytes)
  }
  for (const { blocks } of stage.layers) for (const block of blocks) compute(block, true)
  for (const block of stage.ends) compute(block, false)
  if (layout.pipeline > 1) {
    const boundary = (stage.layers[0]?.inputBytes ?? 0) / (run.plan.sequenceParallel ? 1 : layout.tensor)
    const stride = layout.data * layout.tensor
    parts['pipeline bubble'] += 2 * run.plan.virtualStages * sendSeconds(cluster, stride * layout.pipeline, boundary)
  }
  return { parts, total: timeKinds.reduce((sum, kind) => sum + parts[kind], 0), forward, backward, hidden }
}

interface Hidden {
  readonly exposed: number
  readonly hidden: number
}

/** What can be hidden behind `behind` seconds is. */
const hide = (seconds: number, behind: number): Hidden => {
  const hidden = Math.min(seconds, behind)
  return { exposed: seconds - hidden, hidden }
}

/** What a step does once, and what ZeRO adds to its micro-batches. */
function stepEnd(
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  own: readonly Part[],
  microBatches: number,
  { forward, backward }: MicroBatch,
) {
  const { data, expert, tensor, zero } = layout
  const { dense, experts } = addParts(own)
  const local = { dense: dense.parameters / tensor, experts: experts.parameters / tensor / expert }
  // Dense gradients are summed over all data-parallel ranks, those of an expert over the ranks that hold it.
  const groups = {
    dense: groupOf(cluster, data, tensor),
    experts: groupOf(cluster, data / expert, tensor * expert),
  }
  const both = (seconds: (part: keyof typeof local) => number) => seconds('dense') + seconds('experts')
  const gradient = gradientBytes(run)
  const weight = storedBytes(run.plan.precision)
  // Divided gradients are exchanged for every micro-batch, whole ones once.
  const rounds = zero >= 2 ? microBatches : 1
  const exchange = both((part) => {
    const seconds = zero >= 1 ? reduceScatterSeconds : allReduceSeconds
    return seconds(cluster, groups[part], local[part] * gradient)
  })
  const gather = both((part) => reduceScatterSeconds(cluster, groups[part], local[part] * weight))
  // ZeRO 1 and 2 gather the updated weights once a step, ZeRO 3 all weights forward and backward.
  const gatherings = zero === 3 ? 2 * microBatches : zero > 0 ? 1 : 0
  const { overlap } = run.plan
  const exchanged = hide(rounds * exchange, overlap * rounds * backward)
  const computed = zero === 3 ? microBatches * (forward + backward) : forward
  const gathered = hide(gatherings * gather, Math.max(0, overlap * computed - (zero === 3 ? exchanged.hidden : 0)))

  const updated = {
    dense: local.dense / (zero >= 1 ? data : 1),
    experts: local.experts / (zero >= 1 ? data / expert : 1),
  }
  const state = stateBytes(run, layout, addParts(own))
  const count = both((part) => updated[part])
  // The state is read and written, gradients are read (once more for their norm), weights are written.
  const traffic = 2 * state.optimizer + count * (2 * gradient + 2 * weight) + adafactorPasses(run) * count * gradient
  const { optimizer, traffic: hosted } = offloaded(run, cluster, layout, {
    traffic,
    count,
    local: local.dense + local.experts,
  })
  // Weights and gradients come and go while layers are computed; an offloaded update waits for its gradients.
  const offload = hide(hosted, layout.offload === 'all' ? overlap * microBatches * (forward + backward) : 0)
  return {
    exchange: exchanged,
    gathering: gathered,
    optimizer,
    offload,
    total: exchanged.exposed + gathered.exposed + optimizer + offload.exposed,
  }
}

/** Adafactor reads gradients for its row and column means and again for the size of the update, before it updates. */
const adafactorPasses = (run: PlannedRun): number => (optimizerKind(run) === 'adafactor' ? 2 : 0)

/** Where the update happens, and what passes between device and host for it. */
function offloaded(
  run: PlannedRun,
  cluster: Cluster,
  { offload, microBatches }: Layout,
  { traffic, count, local }: { traffic: number; count: number; local: number },
): { optimizer: number; traffic: number } {
  const { host } = cluster.links
  if (offload === 'none' || !host) {
    const { bandwidth, updateEfficiency } = cluster.device
    return { optimizer: traffic / (bandwidth * updateEfficiency), traffic: 0 }
  }
  const link = host.bandwidth * host.efficiency
  const weight = storedBytes(run.plan.precision)
  // The host's memory is taken to be as fast as its link, which is the case for the share that a device has of it.
  const update = traffic / link
  if (offload === 'optimizer') return { optimizer: update, traffic: (count * (gradientBytes(run) + weight)) / link }
  return { optimizer: update, traffic: (microBatches * local * (2 * weight + gradientBytes(run))) / link }
}
