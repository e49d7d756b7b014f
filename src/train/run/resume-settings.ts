/**
 * The settings that a resumed run may not change. Each checkpoint holds the settings that it was trained with, so a
 * config.json that was edited into other valid settings is detected.
 */
import { type Difference, differences, formatDifferent } from '../../core/config/differences.ts'
import { type Fields, isFields } from '../../core/config/fields.ts'
import { merge } from '../../core/config/preset-fields.ts'
import { type RunConfig, runSchema } from '../../core/config/run-config.ts'
import { RunError } from '../../core/errors.ts'

/**
 * Fields that may change when a run is resumed: they affect only steps to come, so a changed schedule acts from the
 * current step on. The precision may not change, because losses before and after would not be comparable; except that a
 * run in f16, which few machines have, can go on in float32.
 */
const changeable =
  /^(runtime\.(device|threads)|parallel\.(expert|data|headroom|ledger)|data\.cache|train\.(steps|evalEvery|evalBatches|checkpointEvery|keep|routingEvery|maxNonFinite|schedule\..+))$/

/** Whether a field is a path, which may change if its contents stay the same. The hashes in a checkpoint decide. */
export const isMovable = (field: string): boolean => field === 'data.source' || field === 'data.replay'

const mayChange = (field: string): boolean => changeable.test(field) || isMovable(field)

const isAllowed = ({ field, from, to }: Difference): boolean =>
  mayChange(field) || (field === 'runtime.math' && from === 'f16' && to === 'float32')

/** The differences that no resumed run may have. */
export const refusedChanges = (changes: readonly Difference[]): Difference[] =>
  changes.filter((change) => !isAllowed(change))

/** The settings that a resumed run has to keep, as a checkpoint holds them. */
export const fixedSettings = (config: RunConfig): Fields => select(config, (field) => !mayChange(field))

function select(fields: Fields, has: (field: string) => boolean, above = ''): Fields {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([key, value]) => {
      const field = `${above}${key}`
      if (isFields(value)) return [[key, select(value, has, `${field}.`)]]
      return has(field) && value !== undefined ? [[key, value]] : []
    }),
  )
}

/**
 * @param settings The {@link fixedSettings} in a checkpoint; undefined in a checkpoint of an earlier version.
 * @param config The run's config.json.
 * @param directory Directory of the run, for messages.
 * @throws RunError listing the fields that were edited after the checkpoint was written
 */
export function expectSettings(settings: Fields | undefined, config: RunConfig, directory: string): void {
  if (settings === undefined) return
  // A later version has further fields; the run was trained with their defaults.
  const whole = runSchema.safeParse(merge(select(config, mayChange), settings))
  const edited = refusedChanges(
    differences(whole.success ? fixedSettings(whole.data) : settings, fixedSettings(config)),
  )
  if (edited.length === 0) return
  const list = edited.map(
    ({ field, from, to }) => `\n  ${field}: ${formatDifferent(from)} in the checkpoint, ${formatDifferent(to)} now`,
  )
  throw new RunError(
    `config.json of ${directory} was edited after its checkpoint was written, and the results of a run come from one ` +
      `configuration (set these fields back in the file; with other settings, begin a new run: choir train --from)${list.join('')}`,
  )
}
