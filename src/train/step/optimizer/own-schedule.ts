/** Learning-rate schedules of a user's own. */
import type { TrainConfig } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { Plugins } from '../../../core/plugins.ts'

/** What a schedule knows at a step: the step, from 1 to `steps`, and the settings `train.schedule`. */
export interface ScheduleInput extends Pick<TrainConfig['schedule'], 'learningRate' | 'warmup' | 'final' | 'decay'> {
  readonly step: number
  readonly steps: number
}

/** A learning-rate schedule with its name. */
export interface OwnSchedule {
  readonly name: string
  /**
   * Learning rate of a step, 0 or more. It must depend on its input alone, since a resumed run begins in the middle.
   * The rates of experts and routers are `train.schedule.expertRate` and `routerRate` times as large.
   */
  readonly rate: (input: ScheduleInput) => number
}

/** Schedules that `train.schedule.own` names. */
export const ownSchedules = new Plugins<OwnSchedule>('schedule', { rate: 'function' }, (schedule) => ({
  ...schedule,
  rate(input) {
    let rate: unknown
    try {
      rate = schedule.rate(input)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      throw fault(schedule, `rate: ${message} at step ${input.step} of ${input.steps}`)
    }
    if (typeof rate === 'number' && rate >= 0 && rate < Number.POSITIVE_INFINITY) return rate
    throw fault(schedule, `rate returned ${String(rate)} at step ${input.step} of ${input.steps} (expected 0 or more)`)
  },
}))

/**
 * Computes the rate of every step of a training, so that a mistake in a schedule of the user's own is found before the
 * first step.
 * @throws UsageError if a rate is no rate, or changes when it is computed again
 */
export function checkRates({ schedule, steps }: Pick<TrainConfig, 'schedule' | 'steps'>): void {
  if (schedule.kind !== 'own') return
  const own = ownSchedules.get(schedule.own)
  const rates = new Float64Array(steps)
  for (let step = 1; step <= steps; step++) rates[step - 1] = own.rate({ ...schedule, step, steps })
  for (let step = steps; step >= 1; step--) {
    const again = own.rate({ ...schedule, step, steps })
    if (again !== rates[step - 1])
      throw fault(own, `rate returned ${rates[step - 1]} at step ${step}, and then ${again} (expected the same)`)
  }
}

const fault = ({ name }: OwnSchedule, message: string) => new UsageError(`schedule ${name}: ${message}`)
