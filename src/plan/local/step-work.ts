/** The time of a training step by what is done, as it was recorded and as the planner has it. */
import type { StepProfile } from '../../measure/step-profile.ts'
import { backwardSeconds, forwardSeconds } from '../cost/device-time.ts'
import { Predictor } from '../cost/predict.ts'
import type { Cluster } from '../inputs/cluster.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import { Workloads } from '../work/stages.ts'
import { localLayout, localLoads } from './local-run.ts'

/** Seconds of a step. */
export interface StepWork {
  readonly products: number
  readonly attention: number
  /** All that is neither a product nor attention nor the update, waiting included. */
  readonly passes: number
  readonly update: number
}

/** What a step did, by its recording. Attention counts for itself only where one kernel does all of it. */
export function recordedWork({ nodes, steps, microseconds }: StepProfile): StepWork {
  const seconds = (chosen: (node: StepProfile['nodes'][number]) => boolean) =>
    nodes.filter(chosen).reduce((sum, node) => sum + node.microseconds, 0) / steps / 1e6
  const update = seconds(({ layer }) => layer === 'optimizer')
  const attention = seconds(({ kind }) => /^attention(-gradient)?$/.test(kind))
  const products = seconds(({ kind }) => /^(matmul|gemm|fusedmatmul|expert-(ffn|linear)(-gradient)?)$/i.test(kind))
  return { products, attention, update, passes: microseconds / steps / 1e6 - update - attention - products }
}

/** The same of a run on a cluster of one device. */
export function predictedWork(run: PlannedRun, cluster: Cluster): StepWork {
  const layout = localLayout(run)
  const loads = localLoads(run)
  const { slice, stages } = new Workloads(run, loads).of(layout)
  const directions = stages
    .flatMap(({ layers, ends }) => [...layers.flatMap(({ blocks }) => blocks), ...ends])
    .flatMap((block) =>
      [forwardSeconds, backwardSeconds].map((seconds) =>
        seconds(cluster.device, run.plan.precision, slice.bytes, block),
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
