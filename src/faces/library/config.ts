/** Configurations that are written in code. */

import { fieldsOf, withPreset } from '../../core/config/preset-fields.ts'
import { type PresetName, presets } from '../../core/config/presets.ts'
import { parseInput } from '../../core/config/problems.ts'
import { type RunConfig, type RunInput, runSchema } from '../../core/config/run-config.ts'

/** Fields of a run, all optional. They override the fields of a preset. */
export interface ConfigInput extends RunInput {
  /** Preset to start from. Default: none; fields that are not given have their own defaults. */
  readonly preset?: PresetName
}

/**
 * Makes the complete configuration of a run: fields that are not given have the values of the preset, or their
 * defaults. docs/configuration.md explains every field.
 *
 * @example
 * ```ts
 * const config = defineConfig({ preset: 'tiny', model: { moe: { k: 2 } }, train: { steps: 200 } })
 * ```
 * @throws UsageError that lists every problem: field, value, what is accepted and the nearest name
 */
export function defineConfig(input: ConfigInput = {}): RunConfig {
  return parseInput(runSchema, withPreset(fieldsOf(input), presets), 'configuration')
}
