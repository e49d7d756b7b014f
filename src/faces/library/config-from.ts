/** Configurations, written in code, of runs that begin with the weights of another run. */
import { expectPath } from '../../core/config/options.ts'
import { fieldsOf, withPreset } from '../../core/config/preset-fields.ts'
import { presets } from '../../core/config/presets.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { configOver } from '../../node/run/load-config-from.ts'
import type { ConfigInput } from './config.ts'

/**
 * Makes the configuration of a run that begins with the weights of another run (`from` in the options of `train`).
 * Settings of `model`, `data` and `train` that are not given are taken from the other run.
 *
 * @example
 * ```ts
 * const config = await configFrom('runs/first', { data: { source: 'notes/' }, train: { steps: 200 } })
 * await train(config, { directory: 'runs/notes', from: { run: 'runs/first' } })
 * ```
 * @param run Directory of the other run.
 * @throws UsageError that lists every problem, or if there is no such run
 */
export async function configFrom(run: string, input: ConfigInput = {}): Promise<RunConfig> {
  expectPath('run', run, 'its directory')
  return configOver(run, withPreset(fieldsOf(input), presets))
}
