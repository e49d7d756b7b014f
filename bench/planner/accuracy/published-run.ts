/** A published measurement as a planned run: the measured value, and the prediction of the planner for it. */
import { parseInput } from '../../../src/core/config/problems.ts'
import { ComponentTimes, deviceFor } from '../../../src/tools/plan/cost/device-time.ts'
import { memoryOf } from '../../../src/tools/plan/cost/memory.ts'
import { timeOf } from '../../../src/tools/plan/cost/time.ts'
import type { Cluster } from '../../../src/tools/plan/inputs/cluster.ts'
import { clusterFamilies } from '../../../src/tools/plan/inputs/clusters.ts'
import type { Constants, EfficiencyFamily } from '../../../src/tools/plan/inputs/constants.ts'
import type { Layout } from '../../../src/tools/plan/inputs/layout.ts'
import { clusterOf } from '../../../src/tools/plan/inputs/load-plan.ts'
import { type PlannedRun, plannedRunSchema } from '../../../src/tools/plan/inputs/settings.ts'
import { layoutsOf } from '../../../src/tools/plan/search/search.ts'
import { balancedLoads } from '../../../src/tools/plan/work/load.ts'
import { countParameters, type ParameterCounts } from '../../../src/tools/plan/work/parameter-counts.ts'
import { type Workload, Workloads } from '../../../src/tools/plan/work/stages.ts'
import { type PublishedRow, publishedSeconds } from './published.ts'

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

/** The cluster with the given constants, of which the efficiency of products is the family's. */
export function withConstants(cluster: Cluster, family: EfficiencyFamily | 'any', constants: Constants): Cluster {
  const { pad, bandwidth, attention, launch, float8, dispatch } = constants
  const { device } = cluster
  return {
    ...cluster,
    device: {
      ...device,
      matmul: { ...device.matmul, efficiency: constants[family], padM: pad, padN: pad, padK: pad, float8 },
      bandwidthEfficiency: bandwidth,
      attentionEfficiency: attention,
      launch,
    },
    dispatchEfficiency: dispatch,
  }
}
