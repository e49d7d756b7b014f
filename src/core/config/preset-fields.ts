/** Merges the fields of a configuration over the fields of the preset that it names. */
import { UsageError } from '../errors.ts'
import { type Fields, isFields } from './fields.ts'
import { expectPlain } from './plain.ts'
import { formatValue, listWithOr, suggestion } from './problems.ts'

/** Presets by name. Their configurations are not checked. */
export type Presets = Readonly<Record<string, { readonly config: object }>>

/** A copy of the fields of a preset; undefined if there is no such preset. */
export function presetFields(presets: Presets, name: unknown): Fields | undefined {
  const preset = typeof name === 'string' && Object.hasOwn(presets, name) ? presets[name] : undefined
  return preset && (structuredClone(preset.config) as Fields)
}

/** A copy of the fields that a caller of the library gives. @throws UsageError unless it is an object */
export function fieldsOf(input: object): Fields {
  if (isFields(input)) return { ...input }
  throw new UsageError(
    `invalid configuration: ${formatValue(input)} (expected an object with fields such as model and train, or preset)`,
  )
}

/**
 * Merges fields over the fields of the preset that they name.
 * @throws UsageError if there is no such preset
 */
export function withPreset({ preset, ...fields }: Fields, presets: Presets): Fields {
  expectPlain(fields, 'configuration')
  if (preset === undefined) return fields
  const base = presetFields(presets, preset)
  if (base) return merge(base, fields)
  const names = Object.keys(presets)
  throw new UsageError(
    `invalid preset: ${formatValue(preset)} (expected ${listWithOr(names)}${suggestion(preset, names)})`,
  )
}

/** Objects are merged recursively; any other value, lists and null included, replaces the old one. */
export function merge(base: Fields, over: Fields): Fields {
  const merged = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key]
    merged[key] = isFields(below) && isFields(value) ? merge(below, value) : value
  }
  return merged
}
