/**
 * The time of a micro-batch on the slowest rank of a pipeline stage: computation, recomputation, and the communication of
 * tensors, contexts and experts.
 */
import { activatedExperts } from '../../../core/model/config/moe-config.ts'
import type { Cluster } from '../inputs/cluster.ts'
import { type Layout, tokenRanks } from '../inputs/layout.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import type { Component, ComponentKind } from '../work/components.ts'
import type { LayerWork } from '../work/layer-work.ts'
import { extentOf, repeatsExchanges } from '../work/recomputation.ts'
import type { PipelineStage, Workload } from '../work/stages.ts'
import { type ComponentTimes, launchesOf } from './device-time.ts'
import { stageOffloadBytes } from './memory.ts'
import { allReduceSeconds, allToAllSeconds, type Dispatch, groupOf, ringSeconds, sendSeconds } from './network.ts'
import { hide, type Seconds, timeKinds, zeroes } from './time-kinds.ts'

export interface MicroBatch {
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

export function microBatchSeconds(
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
