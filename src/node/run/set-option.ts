/** `--set path=value`: one field of a configuration, given on the command line or in a study. */
import { type Fields, isFields } from '../../core/config/fields.ts'
import { formatValue } from '../../core/config/problems.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import { readYamlScalar, readYamlValue } from './read-yaml.ts'

/** Parses `path=value`. @throws UsageError if it is malformed */
export function parseSet(set: string): [path: string[], value: unknown] {
  const at = set.indexOf('=')
  const path = set.slice(0, Math.max(at, 0)).trim().split('.')
  if (at < 0 || path.some((key) => key === '' || key === '__proto__'))
    throw new UsageError(
      wording`invalid ${option('set')}: ${formatValue(set)} (expected path=value, such as train.steps=500)`,
    )
  return [path, parseValue(set.slice(at + 1).trim(), set)]
}

/** Flow collections, quoted text and plain scalars are YAML; anything else (`*.txt`, `-`) is text. */
function parseValue(text: string, set: string): unknown {
  // YAML reads these as JSON does, and loading its parser takes longer than starting everything else.
  if (/^(true|false|null|-?(0|[1-9]\d*)(\.\d+)?)$/.test(text)) return JSON.parse(text)
  if (!/^[[{"']/.test(text)) return readYamlScalar(text)
  return readYamlValue(
    text,
    (reason) => new UsageError(wording`invalid ${option('set')}: ${formatValue(set)} (${reason})`),
  )
}

/** The fields with one of them replaced, by its path; fields on the way are created. */
export function setField(fields: Fields, [key = '', ...rest]: readonly string[], value: unknown): Fields {
  if (rest.length === 0) return { ...fields, [key]: value }
  const below = Object.hasOwn(fields, key) ? fields[key] : undefined
  return { ...fields, [key]: setField(isFields(below) ? below : {}, rest, value) }
}
