/** Compares predictions with published measurements. */
import { parseInput } from '../config/problems.ts'
import { Predictor } from './cost/predict.ts'
import type { Cluster } from './inputs/cluster.ts'
import { clusterFamilies } from './inputs/clusters.ts'
import { clusterOf } from './inputs/load-plan.ts'
import { type PlannedRun, plannedRunSchema } from './inputs/settings.ts'
import { type PublishedRow, publishedRows, publishedSeconds } from './published/measurements.ts'
import { layoutsOf } from './search/search.ts'
import { balancedLoads } from './work/load.ts'

export interface Validated {
  readonly row: PublishedRow
  readonly metric: 'step time' | 'memory'
  /** Seconds of a step, or bytes on a device. */
  readonly published: number
  readonly predicted: number
  /** (predicted − published) / published. */
  readonly error: number
}

export interface Validation {
  readonly rows: readonly Validated[]
  /** Mean absolute errors, by metric and role. */
  readonly means: readonly MeanError[]
}

export interface MeanError {
  readonly metric: Validated['metric']
  readonly role: PublishedRow['role']
  readonly rows: number
  readonly meanAbsoluteError: number
}

/** @param change applied to every cluster, to try other constants */
export function validate(change: (cluster: Cluster) => Cluster = (cluster) => cluster): Validation {
  const rows = publishedRows.map((row) => validateRow(row, change))
  const means = (['step time', 'memory'] as const).flatMap((metric) =>
    (['fit', 'test'] as const).map((role) => {
      const selected = rows.filter((each) => each.metric === metric && each.row.role === role)
      const sum = selected.reduce((total, { error }) => total + Math.abs(error), 0)
      return { metric, role, rows: selected.length, meanAbsoluteError: sum / selected.length }
    }),
  )
  return { rows, means }
}

function validateRow(row: PublishedRow, change: (cluster: Cluster) => Cluster): Validated {
  const run = runOf(row)
  const cluster = change(clusterFor(row))
  const [layout] = layoutsOf(run, cluster)
  if (!layout) throw new Error(`internal: ${row.id} has no layout`)
  const { memory, time } = new Predictor(run, cluster, balancedLoads(run.model)).predict(layout)
  const seconds = publishedSeconds(row)
  const metric = seconds === undefined ? 'memory' : 'step time'
  const allocated = memory.deviceBytes - memory.device.reserved - memory.device.fragmentation
  const published = seconds ?? row.published.value
  const predicted =
    metric === 'step time'
      ? time.stepSeconds
      : row.published.kind === 'allocated bytes'
        ? allocated
        : memory.deviceBytes
  return { row, metric, published, predicted, error: predicted / published - 1 }
}

function runOf({ model, batch, micro, devices, plan }: PublishedRow): PlannedRun {
  const { data } = plan.parallel ?? {}
  const ranks = data ?? devices / (plan.parallel?.tensor ?? 1) / (plan.parallel?.pipeline ?? 1)
  const run = {
    model,
    train: { batch },
    plan: { ...plan, microBatches: batch / ranks / micro, parallel: { expert: 1, ...plan.parallel, data: ranks } },
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
