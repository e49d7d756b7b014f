/** Time of a training step by kind of work, as recorded and as predicted. */
import type { StepProfile } from '../../../train/measure/step-profile.ts'
import { backwardSeconds, forwardSeconds } from '../cost/device-time.ts'
import { Predictor } from '../cost/predict.ts'
import type { Cluster } from '../inputs/cluster.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import { balancedLoads } from '../work/load.ts'
import { Workloads } from '../work/stages.ts'
import { localLayout } from './local-run.ts'

/** Seconds of a step, by kind of work. */
export interface StepWork {
  readonly products: number
  readonly attention: number
  /** Everything else, waiting included. */
  readonly passes: number
  readonly update: number
}

/** Work of a recorded step. Attention is counted separately only if one kernel computes all of it. */
export function recordedWork({ nodes, steps, microseconds }: StepProfile): StepWork {
  const seconds = (isKind: (node: StepProfile['nodes'][number]) => boolean) =>
    nodes.filter(isKind).reduce((sum, node) => sum + node.microseconds, 0) / steps / 1e6
  const update = seconds(({ layer }) => layer === 'optimizer')
  const attention = seconds(({ kind }) => /^attention(-gradient)?$/.test(kind))
  const products = seconds(({ kind }) => /^(matmul|gemm|fusedmatmul|expert-(ffn|linear)(-gradient)?)$/i.test(kind))
  return { products, attention, update, passes: microseconds / steps / 1e6 - update - attention - products }
}

/** Predicted work of a step on a cluster of one device. */
export function predictedWork(run: PlannedRun, cluster: Cluster): StepWork {
  const layout = localLayout(run)
  const loads = balancedLoads(run.model)
  const { slice, stages } = new Workloads(run, loads).of(layout)
  const directions = stages
    .flatMap(({ layers, ends }) => [...layers.flatMap(({ components }) => components), ...ends])
    .flatMap((component) =>
      [forwardSeconds, backwardSeconds].map((seconds) =>
        seconds(cluster.device, run.plan.precision, slice.bytes, component),
      ),
    )
  const sum = (kind: 'products' | 'fused' | 'passes') =>
    layout.microBatches * directions.reduce((total, direction) => total + direction[kind], 0)
  return {
    products: sum('products'),
    attention: sum('fused'),
    passes: sum('passes'),
    update: new Predictor(run, cluster, loads).predict(layout).time.parts.optimizer,
  }
}
