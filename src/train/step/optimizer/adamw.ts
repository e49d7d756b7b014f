/**
 * AdamW (Loshchilov and Hutter 2019, algorithm 2): Adam with decoupled weight decay.
 *
 *   m ← β₁m + (1−β₁)g      v ← β₂v + (1−β₂)g²
 *   p ← (1 − lr·decay)·p − lr·m̂ / (√v̂ + ε),   m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ)
 */
import type { AdamwSettings, ArenaKernels } from '../../../engine/contract/arena-kernels.ts'
import { momentTensors } from '../store/named-tensors.ts'
import { type ParameterRange, parameterRanges } from '../store/parameter-ranges.ts'
import type { ParameterStore } from '../store/store.ts'
import type { Optimizer } from './contract.ts'
import { areUpdatedAlike, rangeUpdate, type UpdateConfig } from './tensor-update.ts'

/** Number of regions of the store that AdamW needs besides parameters and gradients. */
export const ADAMW_MOMENTS = 2

export function adamw(kernels: ArenaKernels, store: ParameterStore, config: UpdateConfig): Optimizer {
  const known = new Map<ReadonlySet<string> | undefined, readonly ParameterRange[]>()
  const rangesOf = (names: ReadonlySet<string> | undefined) => {
    const ranges = known.get(names) ?? parameterRanges(store, names, (a, b) => areUpdatedAlike(config, a, b))
    known.set(names, ranges)
    return ranges
  }
  return {
    update({ step, learningRate }, gate, names) {
      return kernels.adamw(
        rangesOf(names).map(({ arena, parameters, gradients, moments, count, spec }) => {
          const [m, v] = moments as [number, number]
          return { arena, p: parameters, g: gradients, m, v, count, ...rangeUpdate(config, spec, learningRate) }
        }),
        settingsOf(config, step, learningRate),
        gate,
      )
    },
    stateTensors: () => [...momentTensors(store, 0, '.exp_avg'), ...momentTensors(store, 1, '.exp_avg_sq')],
  }
}

/** The settings of an update, with the bias corrections folded into coefficients. */
export function settingsOf({ optimizer }: UpdateConfig, step: number, learningRate: number): AdamwSettings {
  const { beta1, beta2, epsilon } = optimizer
  return {
    beta1,
    beta2,
    epsilon,
    first: 1 - beta1,
    second: 1 - beta2,
    size: learningRate / (1 - beta1 ** step),
    correction: 1 / Math.sqrt(1 - beta2 ** step),
  }
}
