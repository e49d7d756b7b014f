/** Describes a run of Choir itself to the planner: one device, float32 in memory, and the kernels of Choir. */
import { parseInput } from '../../../core/config/problems.ts'
import type { RunConfig } from '../../../core/config/run-config.ts'
import type { Layout } from '../inputs/layout.ts'
import { type PlannedRun, plannedRunSchema } from '../inputs/settings.ts'

const oneDevice = { data: 1, expert: 1, tensor: 1, pipeline: 1 }

/**
 * The planned run of a configuration. Activations, weights and gradients are float32 in any precision of products.
 * Attention stores no scores, and experts compute only the rows that they keep.
 */
export function localRun(config: RunConfig): PlannedRun {
  const { model, train } = config
  const moe = model.moe && {
    ...model.moe,
    ...(model.moe.capacity !== 'none' ? { compute: 'ragged' as const } : {}),
  }
  return parseInput(
    plannedRunSchema,
    {
      ...config,
      model: { ...model, moe },
      plan: {
        precision: 'float32',
        attention: 'fused',
        recompute: 'none',
        bySource: config.parallel.reproducible,
        microBatches: train.microBatches,
        zero: 0,
        offload: 'none',
        // One device waits for no busier rank, and an even load, of which nothing is dropped, is the most work.
        load: { sampling: false },
        parallel: oneDevice,
      },
    },
    'configuration',
  )
}

export const localLayout = ({ train }: PlannedRun): Layout => ({
  ...oneDevice,
  context: 1,
  expertTensor: 1,
  virtualStages: 1,
  zero: 0,
  recompute: 'none',
  microBatches: train.microBatches,
  offload: 'none',
})
