/** Small runs, layouts and clusters for tests; the ideal clusters have no overheads. */
import type { z } from 'zod'
import { type Prediction, Predictor } from '../cost/predict.ts'
import { type Cluster, type ClusterInput, clusterSchema } from '../inputs/cluster.ts'
import type { Layout } from '../inputs/layout.ts'
import { type PlannedRun, plannedRunSchema } from '../inputs/settings.ts'
import type { Calibration } from '../local/calibration.ts'
import { balancedLoads, type ModelLoads } from '../work/load.ts'

export type RunInput = z.input<typeof plannedRunSchema>

export const runOf = (input: RunInput): PlannedRun => plannedRunSchema.parse(input)

/** A run with eight experts in two layers of width 64, and 64 sequences of 32 tokens, whose experts get equally many. */
export function sparseRun(
  moe: NonNullable<NonNullable<RunInput['model']>['moe']> = {},
  plan: RunInput['plan'] = {},
  model: RunInput['model'] = {},
  train: RunInput['train'] = {},
): PlannedRun {
  const shape = { vocabulary: 512, layers: 2, width: 64, heads: 8, sequence: 32, hidden: 128 }
  return runOf({
    model: { ...shape, moe: { experts: 8, hidden: 128, ...moe }, ...model },
    train: { batch: 64, ...train },
    plan: { load: { sampling: false }, ...plan },
  })
}

const link = { bandwidth: '100 GB/s', latency: '0 s', efficiency: 1 }

/**
 * A cluster without overheads: products at their peak, no kernel cost, links of 100 GB/s (50 GB/s a device between
 * nodes) without latency.
 */
export function idealInput(devices: number): ClusterInput {
  return {
    devices,
    devicesPerNode: 8,
    device: {
      memory: '80 GB',
      reserved: '1 B',
      bandwidth: '1 TB/s',
      bandwidthEfficiency: 1,
      attentionEfficiency: 1,
      attentionPad: 0,
      peak: { float32: '10 TFLOP/s', tf32: '50 TFLOP/s', float16: '100 TFLOP/s', bfloat16: '100 TFLOP/s' },
      matmul: { efficiency: 1, padM: 0, padN: 0, padK: 0, fill: 0 },
      kernel: '0 s',
      launch: '0 s',
    },
    dispatchEfficiency: 1,
    links: { node: link, network: { ...link, bandwidth: '400 GB/s' }, host: { ...link, bandwidth: '10 GB/s' } },
  }
}

export const idealCluster = (devices: number): Cluster => clusterSchema.parse(idealInput(devices))

/** A cluster with the default kernel cost, pads, latencies and efficiencies. */
export function realCluster(devices: number): Cluster {
  return clusterSchema.parse({
    devices,
    device: {
      memory: '80 GB',
      bandwidth: '2 TB/s',
      peak: { float32: '20 TFLOP/s', float16: '300 TFLOP/s', bfloat16: '300 TFLOP/s', float8: '600 TFLOP/s' },
    },
    links: {
      node: { bandwidth: '300 GB/s' },
      network: { bandwidth: '200 GB/s' },
      host: { bandwidth: '25 GB/s' },
    },
  })
}

/** A machine that has been calibrated: one ideal device, 200 MB of memory for a process without a model. */
export const calibrationOf = (): Calibration => ({
  engine: 'ideal',
  cluster: idealCluster(1),
  baseBytes: 2e8,
  errors: { shapes: 0, products: 0, attention: 0, passes: 0, update: 0 },
})

export const layoutOf = (over: Partial<Layout> = {}): Layout => ({
  data: 1,
  expert: 1,
  tensor: 1,
  pipeline: 1,
  context: 1,
  expertTensor: over.tensor ?? 1,
  virtualStages: 1,
  zero: 0,
  recompute: 'none',
  microBatches: 1,
  offload: 'none',
  ...over,
})

/** The prediction for a layout, with balanced loads unless others are given. */
export function predict(run: PlannedRun, cluster: Cluster, layout: Layout, loads?: ModelLoads): Prediction {
  return new Predictor(run, cluster, loads ?? balancedLoads(run.model)).predict(layout)
}

export const sum = (parts: Readonly<Record<string, number>>): number =>
  Object.values(parts).reduce((total, part) => total + part, 0)
