/** Loads the configuration of a run that begins with the weights of another run, or forks from it. */
import { join } from 'node:path'
import { differences } from '../../core/config/differences.ts'
import { type Fields, isFields } from '../../core/config/fields.ts'
import { merge } from '../../core/config/preset-fields.ts'
import { presets } from '../../core/config/presets.ts'
import { parseInput } from '../../core/config/problems.ts'
import { type RunConfig, runSchema } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import { isRunText, runTextPath } from '../../train/data/sources/run-text.ts'
import { readFields } from './load-config.ts'
import { loadSourceConfig } from './weights-source.ts'

/**
 * Loads a configuration. Settings of `model`, `data` and `train` that are not given come from the other run. `parallel`
 * and `runtime` have their defaults, except in a fork, which computes as the other run does.
 * @param run Directory of the other run.
 * @param source, sets Preset or file, and assignments, as for `loadConfig`.
 * @throws UsageError listing every problem, or if there is no such run
 */
export async function loadConfigFrom(
  run: string,
  source: string | undefined,
  sets: readonly string[],
  option: 'from' | 'fork' = 'from',
): Promise<RunConfig> {
  return configOver(run, await readFields(source, sets, presets), option)
}

/** Does the same as {@link loadConfigFrom}, with fields that are already read. */
export async function configOver(run: string, given: Fields, option: 'from' | 'fork' = 'from'): Promise<RunConfig> {
  const { model, data, train, ...machine } = await loadSourceConfig(run, option)
  refuseOtherTokenizer(run, data.tokenizer, isFields(given.data) ? given.data.tokenizer : undefined)
  return parseInput(
    runSchema,
    merge(
      { model, data: { ...data, source: textOf(run, data.source) }, train, ...(option === 'fork' && machine) },
      given,
    ),
    'configuration',
  )
}

/** The data source of a run, with paths to text in the directory of the run. */
function textOf(run: string, source: RunConfig['data']['source']): RunConfig['data']['source'] {
  const found = (entry: string) => (isRunText(entry) ? join(run, runTextPath(entry)) : entry)
  return typeof source === 'string' ? found(source) : source.map(found)
}

function refuseOtherTokenizer(run: string, of: RunConfig['data']['tokenizer'], given: unknown): void {
  if (!isFields(given)) return
  const [other] = differences({ ...of }, merge({ ...of }, given), 'data.tokenizer')
  if (!other) return
  throw new UsageError(
    `invalid ${other.field}: ${JSON.stringify(other.to)} (the tokenizer of ${run} comes with its weights, since they ` +
      'know no other tokens; leave out data.tokenizer)',
  )
}
