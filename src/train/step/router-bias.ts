/**
 * Balancing without a loss: each step raises the bias of experts below the mean load and lowers that of the others,
 * for the `bias` router (Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts",
 * algorithm 1; DeepSeek-V3, section 2.1.2).
 */
import type { MoeConfig } from '../../core/model/moe-config.ts'
import { moduleName } from '../../core/model/parameters.ts'
import type { ArenaKernels, Gate } from '../../engine/contract/arena-kernels.ts'
import type { ExpertLoads } from './pass.ts'
import type { ParameterStore } from './store.ts'

const suffix = '.router.bias'

/** Whether a tensor has the biases of a router. */
export const isRouterBias = (name: string): boolean => name.endsWith(suffix)

/**
 * Orders b_e ← b_e + u · sign(mean load − load_e), if the gate is open, with the loads of the step before drops, over all
 * micro-batches.
 */
export async function updateRouterBias(
  kernels: ArenaKernels,
  store: ParameterStore,
  moe: MoeConfig | null,
  loads: readonly ExpertLoads[],
  gate: Gate,
): Promise<void> {
  if (moe?.router !== 'bias') return
  const fixed = new Set(store.specs.flatMap(({ name, frozen }) => (frozen ? [name] : [])))
  const biases = loads.flatMap(({ layer, module, known, ordered }) => {
    const name = moduleName(layer, module) + suffix
    return fixed.has(name) ? [] : [{ ...store.parameter(name), known, ordered }]
  })
  await kernels.balance(biases, moe.biasRate, gate)
}
