/** Checks of a learning-rate schedule of the user's own. */
import { runSchema } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import { grouped } from '../../core/text/numbers.ts'
import { checkRates } from '../../train/step/optimizer/own-schedule.ts'
import type { Check, PluginCheck } from './check.ts'

/** Trainings whose rates are computed: steps, and steps of warm-up. */
const TRAININGS = [
  { steps: 1, warmup: 0 },
  { steps: 10, warmup: 3 },
  { steps: 10, warmup: 10 },
  { steps: 1000, warmup: 100 },
  { steps: 100_000, warmup: 2000 },
]

/** @param id Name and hash of a registered schedule. */
export function checkSchedule(id: string): PluginCheck {
  const { schedule } = runSchema.parse({ train: { schedule: { kind: 'own', own: id } } }).train
  const checks = TRAININGS.map(({ steps, warmup }): Check => {
    const name = `the rates of ${grouped(steps)} step${steps === 1 ? '' : 's'} are 0 or more, and the same when computed again`
    try {
      checkRates({ steps, schedule: { ...schedule, warmup } })
      return { name, passed: true, found: `warm-up of ${grouped(warmup)}` }
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      return { name, passed: false, found: error.message }
    }
  })
  return { part: 'schedule', id, checks, time: null }
}
