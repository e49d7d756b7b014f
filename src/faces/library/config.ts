/** Configurations, written in code. */

import { fieldsOf, withPreset } from '../../core/config/preset-fields.ts'
import { type PresetName, presets } from '../../core/config/presets.ts'
import { parseInput } from '../../core/config/problems.ts'
import { type RunConfig, type RunInput, runSchema } from '../../core/config/run-config.ts'

/** Fields of a run, all optional, over those of a preset. */
export interface ConfigInput extends RunInput {
  /** Default: the defaults of every field. */
  readonly preset?: PresetName
}

/**
 * A complete configuration of a run. What every field means: docs/configuration.md.
 *
 * @example
 * ```ts
 * const config = defineConfig({ preset: 'tiny', model: { moe: { k: 2 } }, train: { steps: 200 } })
 * ```
 * @throws UsageError listing every problem: field, value, what is accepted and the nearest name
 */
export function defineConfig(input: ConfigInput = {}): RunConfig {
  return parseInput(runSchema, withPreset(fieldsOf(input), presets), 'configuration')
}
