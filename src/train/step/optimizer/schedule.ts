/**
 * The learning rate, and the coefficient of the balancing loss, as pure functions of the configuration and the step, so
 * a resumed run needs no schedule state.
 */
import type { RunConfig, TrainConfig } from '../../../core/config/run-config.ts'
import { ownSchedules } from './own-schedule.ts'

/** The fields that determine the learning rate. */
type Rates = Pick<TrainConfig['schedule'], 'kind' | 'learningRate' | 'warmup' | 'final' | 'decay'> &
  Partial<Pick<TrainConfig['schedule'], 'own'>>

/**
 * Learning rate of a step, from 1 to `steps`.
 *
 * All kinds rise linearly to the peak, which is reached at step `warmup`. Then `cosine` falls along half
 * a cosine (Loshchilov and Hutter, SGDR, eq. 5, without restarts) to `final` × peak at the last step;
 * `inverse-sqrt` falls as 1 / sqrt(step) (Vaswani et al., section 5.3); `constant` stays at the peak.
 * `wsd` (warm-up, stable, decay) stays at the peak until {@link decayStart}, and then falls as 1 − √progress to
 * `final` × peak at the last step (Hägele et al. 2024, arXiv 2405.18392, the cooldown "1-sqrt").
 * A schedule of the user's own (`own-schedule.ts`) has neither warm-up nor decay besides its own.
 * Experts and routers may have factors of it (`tensor-update.ts`).
 */
export function learningRate(schedule: Rates, step: number, steps: number): number {
  const { kind, learningRate: peak, warmup, final, own = null } = schedule
  if (kind === 'own') return ownSchedules.get(own).rate({ ...schedule, step, steps })
  if (step <= warmup) return (peak * step) / warmup
  if (kind === 'constant') return peak
  if (kind === 'inverse-sqrt') return peak * Math.sqrt(Math.max(1, warmup) / step)
  const start = kind === 'wsd' ? (decayStart({ schedule, steps }) ?? steps) : warmup
  if (step <= start) return peak
  const progress = step >= steps ? 1 : (step - start) / (steps - start)
  const height = kind === 'wsd' ? 1 - Math.sqrt(progress) : 0.5 * (1 + Math.cos(Math.PI * progress))
  return peak * (final + (1 - final) * height)
}

/**
 * The step after which the rate of a `wsd` schedule decays: the share `decay` of the steps before the end, but not
 * within the warm-up. Up to this step, the run has the rates of every longer run with the same schedule. It is null for
 * other kinds, and if no step is left to decay in.
 */
export function decayStart({
  schedule,
  steps,
}: {
  readonly schedule: Pick<Rates, 'kind' | 'warmup' | 'decay'>
  readonly steps: number
}): number | null {
  if (schedule.kind !== 'wsd') return null
  const start = Math.max(schedule.warmup, Math.round(steps * (1 - schedule.decay)))
  return start < steps ? start : null
}

/**
 * Coefficient of the balancing loss at a step: linear, from `model.moe.balance.coefficient` at the first step to its
 * share `train.schedule.finalBalance` at the last. The schedule is undefined if the coefficient does not change, or
 * there is no such loss.
 */
export function balanceSchedule({
  model: { moe },
  train: { schedule, steps },
}: Pick<RunConfig, 'model' | 'train'>): ((step: number) => number) | undefined {
  const { finalBalance } = schedule
  if (!moe || moe.balance.coefficient === 0 || finalBalance === 1) return undefined
  return (step) => {
    const progress = step >= steps ? 1 : (step - 1) / (steps - 1)
    return moe.balance.coefficient * (1 + (finalBalance - 1) * progress)
  }
}
