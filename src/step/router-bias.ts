/**
 * Balancing without a loss: each step raises the bias of experts below the mean load and lowers that of the others,
 * for the `bias` router (Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts",
 * algorithm 1; DeepSeek-V3, section 2.1.2).
 */
import type { MoeConfig } from '../model/config.ts'
import { moduleName } from '../model/parameters.ts'
import { changeRange } from '../runtime/arena.ts'
import type { LayerCounts } from './statistics.ts'
import type { ParameterStore } from './store.ts'

const suffix = '.router.bias'

/** Whether a tensor has the biases of a router. */
export const isRouterBias = (name: string): boolean => name.endsWith(suffix)

/** b_e ← b_e + u · sign(mean load − load_e), with the loads of the step before drops, over all micro-batches. */
export async function updateRouterBias(
  store: ParameterStore,
  moe: MoeConfig | null,
  layers: readonly LayerCounts[],
): Promise<void> {
  if (moe?.router !== 'bias') return
  for (const { layer, module, tokens } of layers) {
    const mean = tokens.reduce((sum, load) => sum + load, 0) / tokens.length
    await changeRange(store.parameter(moduleName(layer, module) + suffix), (bias_N) => {
      tokens.forEach((load, e) => {
        bias_N[e] = (bias_N[e] as number) + moe.biasRate * Math.sign(mean - load)
      })
    })
  }
}
