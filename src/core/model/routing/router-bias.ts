/**
 * Balancing without a loss, for the `bias` router: each step raises the bias of experts below the mean load and lowers
 * the bias of the others (Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts",
 * algorithm 1; DeepSeek-V3, section 2.1.2):
 *
 *     b_e ← b_e + u · sign(mean load − load_e)
 *
 * The load of an expert is its number of choices before drops, over all micro-batches of the step, and
 * u = `model.moe.biasRate`. The bias has no gradient; `ArenaKernels.balance` computes this rule.
 */
import type { MoeConfig } from '../config/moe-config.ts'
import { moduleName, type RoutedModule } from '../config/moe-config.ts'

const suffix = '.router.bias'

/** Whether a tensor has the biases of a router. */
export const isRouterBias = (name: string): boolean => name.endsWith(suffix)

/** The biases that a step moves, with the loads that move them: empty for other routers, and without frozen biases. */
export function movedBiases<Loads extends { readonly layer: number; readonly module: RoutedModule }>(
  moe: MoeConfig | null,
  specs: readonly { readonly name: string; readonly frozen?: boolean }[],
  loads: readonly Loads[],
): { readonly name: string; readonly loads: Loads }[] {
  if (moe?.router !== 'bias') return []
  const frozen = new Set(specs.flatMap((spec) => (spec.frozen ? [spec.name] : [])))
  return loads.flatMap((of) => {
    const name = moduleName(of.layer, of.module) + suffix
    return frozen.has(name) ? [] : [{ name, loads: of }]
  })
}
