/** A published measurement as a planned run: the measured value, and the prediction of the planner for it. */
import { parseInput } from '../../../core/config/problems.ts'
import { ComponentTimes, passesOf } from '../cost/device-time.ts'
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

/** A row with everything that no constant changes, computed once, since a fit predicts the row many times. */
export class PublishedRun {
  readonly row: PublishedRow
  readonly metric: 'step time' | 'memory'
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
    this.metric = seconds === undefined ? 'memory' : 'step time'
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
      const { precision, fusion } = run.plan
      const times = new ComponentTimes(cluster.device, precision, passesOf(cluster.device, fusion))
      return timeOf(run, cluster, layout, counts, workload, times).stepSeconds
    }
    const { device, deviceBytes } = memoryOf(run, cluster, layout, counts, workload)
    const isAllocated = this.row.published.kind === 'allocated bytes'
    return isAllocated ? deviceBytes - device.reserved - device.fragmentation : deviceBytes
  }
}

function runOf({ model, batch, micro, devices, plan }: PublishedRow): PlannedRun {
  const { tensor = 1, pipeline = 1, context = 1, data } = plan.parallel ?? {}
  const ranks = data ?? devices / (tensor ?? 1) / (pipeline ?? 1) / context
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

function clusterFor({ device, devices, devicesPerNode, network }: PublishedRow): Cluster {
  const links = clusterFamilies[device]?.cluster.links
  return clusterOf(device, devices, {
    ...(devicesPerNode !== undefined && { devicesPerNode }),
    ...(network !== undefined && links && { links: { ...links, network: { ...links.network, bandwidth: network } } }),
  })
}
