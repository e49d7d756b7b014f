/** Checks which settings a resumed run changes, and warns about changed steps of a schedule. */
import { type Difference, differences, formatDifferent } from '../../core/config/differences.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import { quoted } from '../../core/text/shell.ts'
import { hasSameTensors } from '../../train/run/other-shapes.ts'
import { refusedChanges } from '../../train/run/resume-settings.ts'
import { balanceSchedule, decayStart } from '../../train/step/optimizer/schedule.ts'
import { loadRunConfig } from './load-config.ts'

/**
 * The settings of `config` that differ from the settings of the run.
 * @throws UsageError listing the changed settings that may not change
 */
export async function allowedChanges(directory: string, config: RunConfig): Promise<Difference[]> {
  const own = await loadRunConfig(directory)
  const changes = differences(own, config)
  const refused = refusedChanges(changes)
  if (refused.length === 0) return changes
  const list = refused.map(
    ({ field, from, to }) => `\n  ${field}: ${formatDifferent(from)} in the run, ${formatDifferent(to)} given`,
  )
  const other = hasSameTensors(own.model, config.model)
    ? `begin a new run with its weights: choir train --from ${quoted(directory)} --set ...`
    : 'start a new run, since its weights do not fit'
  throw new UsageError(
    `invalid configuration to resume "${directory}": its results come from other settings ` +
      `(resume with the run's own, or ${other})${list.join('')}`,
  )
}

/**
 * Warning if a run of schedule `wsd` is resumed with another number of steps, at a step where the two schedules differ
 * already. The warning names a fork that is equal to a run of the new number of steps. Null otherwise.
 * @param step Step of the checkpoint that is continued.
 */
export function scheduleWarning(
  directory: string,
  changes: readonly Difference[],
  config: RunConfig,
  step: number,
): string | null {
  const { train } = config
  // A coefficient of the balancing loss that follows the steps would differ from the first step on.
  if (balanceSchedule(config)) return null
  const before = changes.find(({ field }) => field === 'train.steps')?.from
  const isOther = changes.some(({ field }) => field.startsWith('train.schedule.'))
  if (typeof before !== 'number' || isOther || train.schedule.kind !== 'wsd') return null
  const common = Math.min(...[before, train.steps].map((steps) => decayStart({ ...train, steps }) ?? steps))
  if (step <= common) return null
  return (
    `the learning rates of ${before} and of ${train.steps} steps differ from step ${common + 1} on, and this run has ` +
    `done ${step} steps of ${before}. A fork from step ${common} or before is a run of ${train.steps} steps bit for bit: ` +
    `choir train --fork ${quoted(directory)} --checkpoint ${common} --steps ${train.steps}`
  )
}
