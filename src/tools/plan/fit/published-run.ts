/** A published measurement as a planned run: the measured value, and the prediction of the planner for it. */
import { parseInput } from '../../../core/config/problems.ts'
import { ComponentTimes, deviceFor } from '../cost/device-time.ts'
import { memoryOf } from '../cost/memory.ts'
import { timeOf } from '../cost/time.ts'
import type { Cluster } from '../inputs/cluster.ts'
import { clusterFamilies } from '../inputs/clusters.ts'
import { clusterOf } from '../inputs/load-plan.ts'
import { type PlannedRun, plannedRunSchema } from '../inputs/settings.ts'
import { type PublishedRow, publishedSeconds } from '../published/measurements.ts'
import type { Layout } from '../search/layout.ts'
import { layoutsOf } from '../search/search.ts'
import { balancedLoads } from '../work/load.ts'
import { countParameters, type ParameterCounts } from '../work/parameter-counts.ts'
import { type Workload, Workloads } from '../work/stages.ts'

export type Metric = 'step time' | 'memory' | 'out of memory'

/** A row with everything that no constant changes, computed once, since a fit predicts the row many times. */
export class PublishedRun {
  readonly row: PublishedRow
  readonly metric: Metric
  /** Seconds of a step, or bytes on a device. */
  readonly published: number
  /** The cluster of the row, with the constants of its family. */
  readonly cluster: Cluster
  private readonly run: PlannedRun
  private readonly layout: Layout
  private readonly counts: ParameterCounts
  private readonly workload: Workload

  constructor(row: PublishedRow) {
    this.row = row
    const seconds = publishedSeconds(row)
    this.metric =
      seconds !== undefined ? 'step time' : row.published.kind === 'out of memory' ? 'out of memory' : 'memory'
    this.published = seconds ?? row.published.value
    this.cluster = clusterFor(row)
    this.run = runOf(row)
    const [layout] = layoutsOf(this.run, this.cluster)
    if (!layout) throw new Error(`internal: ${row.id} has no layout`)
    this.layout = layout
    this.counts = countParameters(this.run.model, this.run.plan.latent)
    this.workload = new Workloads(this.run, balancedLoads(this.run.model)).of(layout)
  }

  /** Seconds of a step, or bytes on a device, as the row counts them. */
  predict(cluster: Cluster = this.cluster): number {
    const { run, layout, counts, workload } = this
    if (this.metric === 'step time') {
      const { precision, program } = run.plan
      const times = new ComponentTimes(deviceFor(cluster.device, program), precision)
      return timeOf(run, cluster, layout, counts, workload, times).stepSeconds
    }
    const { device, deviceBytes } = memoryOf(run, cluster, layout, counts, workload)
    switch (this.row.published.kind) {
      case 'allocated bytes':
        return deviceBytes - device.reserved - device.fragmentation
      case 'reserved bytes':
        return deviceBytes - device.reserved
      default:
        return deviceBytes
    }
  }

  /** Bytes that the run needs on a device, with everything reserved. */
  neededBytes(): number {
    const { run, cluster, layout, counts, workload } = this
    return memoryOf(run, cluster, layout, counts, workload).deviceBytes
  }
}

function runOf({ model, batch, micro, devices, plan }: PublishedRow): PlannedRun {
  const { tensor = 1, pipeline = 1, context = 1, data } = plan.parallel ?? {}
  const ranks = data ?? devices / (tensor ?? 1) / (pipeline ?? 1) / (context ?? 1)
  const run = {
    model,
    train: { batch },
    plan: {
      // The constants were fitted with even loads.
      load: { sampling: false },
      ...plan,
      microBatches: batch / ranks / micro,
      parallel: { expert: 1, ...plan.parallel, data: ranks },
    },
  }
  return parseInput(plannedRunSchema, run, 'published row')
}

function clusterFor({ device, devices, devicesPerNode, network, variant }: PublishedRow): Cluster {
  const { links, device: family } = clusterFamilies[device]?.cluster ?? {}
  return clusterOf(device, devices, {
    ...(variant && family && { device: { ...family, ...variant } }),
    ...(devicesPerNode !== undefined && { devicesPerNode }),
    ...(network !== undefined && links && { links: { ...links, network: { ...links.network, bandwidth: network } } }),
  })
}
