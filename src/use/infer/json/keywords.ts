/** The keywords of JSON Schema that are accepted, and the messages about wrong ones. */
import type { Fields } from '../../../core/config/fields.ts'
import { formatValue, listWithOr, suggestion } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'

/** Thrown for a schema that has no grammar. */
export class SchemaError extends UsageError {
  /** The keyword at fault, as a path from the schema. */
  readonly place: string

  constructor(place: string, message: string) {
    super(message)
    this.place = place
  }
}

export const numeric = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum']
/** The types, and the keywords that are accepted with them. */
export const keywordsOf: Readonly<Record<string, readonly string[]>> = {
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength'],
  number: numeric,
  integer: numeric,
  boolean: [],
  null: [],
}
export const types = Object.keys(keywordsOf)

/** Keywords that say nothing about values, or hold schemas that others refer to. */
export const annotations = new Set([
  ...['title', 'description', 'default', 'examples', '$comment', 'deprecated', 'readOnly', 'writeOnly', '$schema'],
  ...['$defs', 'definitions'],
])

export const refused = (place: string, value: unknown, expected: string): SchemaError =>
  new SchemaError(place, `invalid ${place}: ${formatValue(value)} (expected ${expected})`)

/** @throws SchemaError if a schema has a keyword that is not accepted beside the others */
export function expectOnly(schema: Fields, place: string, accepted: readonly string[]): void {
  const other = Object.keys(schema).find((keyword) => !accepted.includes(keyword) && !annotations.has(keyword))
  if (other === undefined) return
  throw new SchemaError(
    `${place}.${other}`,
    `unsupported keyword ${place}.${other}: ${formatValue(schema[other])} (accepted here: ${[...new Set(accepted)].join(', ')}${suggestion(other, accepted)})`,
  )
}

export function typesOf(type: unknown, place: string): readonly string[] {
  const given: unknown[] = Array.isArray(type) ? type : [type]
  const wrong = given.find((name) => !types.includes(name as string))
  if (given.length > 0 && wrong === undefined && !given.includes(undefined)) return [...new Set(given as string[])]
  throw refused(
    place,
    Array.isArray(type) && wrong !== undefined ? wrong : type,
    `${listWithOr(types)}, or a list of them`,
  )
}

/** The types of a value. */
export function typeNames(value: unknown): string[] {
  if (value === null) return ['null']
  if (Array.isArray(value)) return ['array']
  return Number.isInteger(value) ? ['integer', 'number'] : [typeof value]
}

/** @throws SchemaError unless both are whole numbers, and the first one is not larger */
export function countsOf(schema: Fields, place: string, minKey: string, maxKey: string): [min: number, max: number] {
  const [min, max] = [schema[minKey] ?? 0, schema[maxKey] ?? Number.POSITIVE_INFINITY]
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
  if (!isCount(min)) throw refused(`${place}.${minKey}`, min, 'a whole number from 0')
  if (max !== Number.POSITIVE_INFINITY && !isCount(max))
    throw refused(`${place}.${maxKey}`, max, 'a whole number from 0')
  if (min > (max as number)) throw refused(`${place}.${maxKey}`, max, `at least ${minKey}, which is ${min}`)
  return [min, max as number]
}

/** The names in a reference such as `#/$defs/name` (RFC 6901); null if it is not one. */
export function pathOf(ref: string): string[] | null {
  const [first, ...names] = ref.split('/')
  try {
    return first === '#'
      ? names.map((name) => decodeURIComponent(name).replaceAll('~1', '/').replaceAll('~0', '~'))
      : null
  } catch {
    return null
  }
}
