/** Parts of the model that are the user's own, before the training: their mistakes are found before the text is read. */
import { type RunConfig, sequencesOfPass } from '../../core/config/run-config.ts'
import { withKernels } from '../../core/graph/tensor.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { tracePass } from './passes/pass.ts'
import type { ModelStore } from './store/model-store.ts'

/**
 * Traces a pass of training if the model has a router, a balancing loss or a layer of the user's own.
 * @throws UsageError naming the part, and what is wrong
 */
export function traceOwnParts(runtime: Runtime, config: RunConfig, store: ModelStore): void {
  const { moe, layer, sequence } = config.model
  if (moe?.router !== 'own' && moe?.balance.form !== 'own' && !layer) return
  const pass = { batch: sequencesOfPass(config), sequence, training: true, capacity: 'train' as const }
  withKernels(runtime.kernels, () => tracePass(config.model, store, pass))
}
