/**
 * The learning rate as a pure function of the configuration and the step, so a resumed run needs no
 * schedule state.
 */
import type { TrainConfig } from '../config/run-config.ts'

/**
 * Learning rate of a step, from 1 to `steps`.
 *
 * All kinds rise linearly to the peak, which is reached at step `warmup`. Then `cosine` falls along half
 * a cosine (Loshchilov and Hutter, SGDR, eq. 5, without restarts) to `final` × peak at the last step;
 * `inverse-sqrt` falls as 1 / sqrt(step) (Vaswani et al., section 5.3); `constant` stays at the peak.
 * Experts and routers may have factors of it (`optimizer/tensor-update.ts`).
 */
export function learningRate(
  schedule: Pick<TrainConfig['schedule'], 'kind' | 'learningRate' | 'warmup' | 'final'>,
  step: number,
  steps: number,
): number {
  const { kind, learningRate: peak, warmup, final } = schedule
  if (step <= warmup) return (peak * step) / warmup
  if (kind === 'constant') return peak
  if (kind === 'inverse-sqrt') return peak * Math.sqrt(Math.max(1, warmup) / step)
  const progress = step >= steps ? 1 : (step - warmup) / (steps - warmup)
  return peak * (final + (1 - final) * 0.5 * (1 + Math.cos(Math.PI * progress)))
}
