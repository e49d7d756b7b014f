/**
 * Error messages for invalid configurations. Zod finds *where* a value is invalid. The accepted values
 * and names come from the schema converted to JSON Schema, so a new field needs no message of its own.
 */
import type { z } from 'zod'
import { UsageError } from '../errors.ts'
import { nearestName } from '../text/nearest.ts'
import { grouped, joinWords } from '../text/numbers.ts'
import { expectationOf } from './expected.ts'
import { isFields } from './fields.ts'
import { type JsonSchema, jsonSchemaOf } from './json-schema.ts'
import { expectPlain } from './plain.ts'

type Path = readonly PropertyKey[]

/**
 * Validates `input` and fills in the schema's defaults.
 *
 * @param subject name of the input in messages, e.g. `configuration`
 * @throws UsageError listing every problem: field, value, what is accepted and the nearest name
 */
export function parseInput<Schema extends z.ZodType>(
  schema: Schema,
  input: unknown,
  subject: string,
): z.output<Schema> {
  expectPlain(input, subject)
  const first = schema.safeParse(input)
  if (first.success) return first.data
  const { shown, more } = limited(first.error.issues)
  const problems = problemsOf(schema, input, shown, subject)
  if (problems.length === 1) throw new UsageError(problems.join())
  const rest = more > 0 ? `\n  and ${grouped(more)} more` : ''
  throw new UsageError(
    `${grouped(problems.length + more)} problems in the ${subject}\n  ${problems.join('\n  ')}${rest}`,
  )
}

/** Maximum number of problems in a message: nobody reads more, and each is compared with the names of all fields. */
const MAX_PROBLEMS = 20

/** The first issues, each about one field, and the number of issues that are left out. */
function limited(issues: readonly z.core.$ZodIssue[]): { shown: z.core.$ZodIssue[]; more: number } {
  const each = issues.flatMap((issue): z.core.$ZodIssue[] =>
    issue.code === 'unrecognized_keys' ? issue.keys.map((key) => ({ ...issue, keys: [key] })) : [issue],
  )
  return { shown: each.slice(0, MAX_PROBLEMS), more: Math.max(0, each.length - MAX_PROBLEMS) }
}

/** One line per problem. */
function problemsOf(schema: z.ZodType, input: unknown, issues: readonly z.core.$ZodIssue[], subject: string): string[] {
  const root = jsonSchemaOf(schema)
  const explainIssue = (issue: z.core.$ZodIssue) => explain(root, issue, input, subject)
  const problems = issues.flatMap(explainIssue)
  // Zod checks rules between fields only when every field is well-formed. So validate again without the
  // malformed fields, and keep only problems in sections that lost no value.
  const malformed = issues.filter((issue) => issue.code !== 'custom')
  const lost = new Set(malformed.filter((issue) => issue.code !== 'unrecognized_keys').map((issue) => issue.path[0]))
  if (malformed.length > 0 && malformed.every((issue) => issue.path.length > 0 || issue.code === 'unrecognized_keys')) {
    const second = schema.safeParse(without(input, malformed))
    for (const issue of second.error?.issues ?? [])
      if (issue.code === 'custom' && !lost.has(issue.path[0] ?? '')) problems.push(...explainIssue(issue))
  }
  return [...new Set(problems)]
}

/** `a`, `a or b`, `a, b or c`. */
export const listWithOr = (names: readonly string[]): string => joinWords(names, 'or')

/** `; did you mean "top-k"?`, or an empty string if no accepted name is similar. */
export function suggestion(name: unknown, accepted: Iterable<string>): string {
  const near = typeof name === 'string' ? nearestName(name, accepted) : undefined
  return near === undefined ? '' : `; did you mean "${near}"?`
}

/** Formats a value as a user would write it; long values are truncated. */
export function formatValue(value: unknown): string {
  switch (typeof value) {
    case 'number':
      return String(value)
    case 'bigint':
      return shortened(`${value}n`)
    case 'function':
      return 'a function'
    case 'symbol':
      return 'a symbol'
    default:
      return shortened(jsonOf(value))
  }
}

/** Callers of the library may give objects that JSON cannot write. */
function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'nothing'
  } catch {
    return 'an object that JSON cannot write'
  }
}

function explain(root: JsonSchema, issue: z.core.$ZodIssue, input: unknown, subject: string): string[] {
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownField(root, issue.path, key, input))
  const field = fieldAt(root, issue.path)
  const value = valueAt(input, issue.path)
  const given = value === undefined && issue.code === 'custom' ? field?.default : value
  const name = dotted(issue.path)
  if (issue.code === 'custom') {
    const suffix = given === undefined ? '' : `: ${formatValue(given)}`
    return [`invalid ${name}${suffix} (${issue.message})`]
  }
  const own = issue.code === 'invalid_union' ? ruleOf(issue) : undefined
  if (own !== undefined) return [`invalid ${name}: ${formatValue(given)} (${own})`]
  const expected = tooLarge(field, value) ?? (field && accepted(field))
  const reason = expected === undefined ? expectationOf(issue) : `expected ${expected}`
  const hint = suggestion(given, field ? namesOf(field) : [])
  return [`invalid ${name === '' ? subject : name}: ${formatValue(given)} (${reason}${hint})`]
}

/** The message of the rule that a value breaks, if it has the type of one of the alternatives. */
function ruleOf({ errors }: z.core.$ZodIssueInvalidUnion): string | undefined {
  const [rule] = errors.flatMap((issues) => (issues.every(({ code }) => code === 'custom') ? issues : []))
  return rule?.message
}

/** The maximum that a value exceeds, with its reason. */
function tooLarge(field: JsonSchema | undefined, value: unknown): string | undefined {
  const options = field?.anyOf ?? (field ? [field] : [])
  const limit = options.find(({ reason }) => reason !== undefined)
  if (limit?.maximum === undefined || !(typeof value === 'number' && value > limit.maximum)) return undefined
  return `at most ${grouped(limit.maximum)}: ${limit.reason}`
}

function unknownField(root: JsonSchema, parent: Path, key: string, input: unknown): string {
  const path = [...parent, key]
  const section = dotted(parent)
  const names = Object.keys(objectOf(fieldAt(root, parent))?.properties ?? {})
  const near = nearFields(root, parent, key, names)
  const hint = near.length > 0 ? `; did you mean ${listWithOr(near.map((name) => `"${name}"`))}?` : ''
  const where = section === '' ? 'accepted' : `accepted in ${section}`
  return `unknown field ${dotted(path)}: ${formatValue(valueAt(input, path))} (${where}: ${names.join(', ')}${hint})`
}

/**
 * Fields that a user may have meant by an unknown key. The first of these that exists: the same name in a subsection, a
 * sibling with one letter more, the same name anywhere, a similar sibling, a similar name anywhere.
 */
function nearFields(root: JsonSchema, parent: Path, key: string, siblings: readonly string[]): string[] {
  const all = fields(root, [])
  const section = dotted(parent)
  const same = all.filter((name) => last(name) === key)
  const sameInSection = same.filter((name) => section !== '' && name.startsWith(`${section}.`))
  if (sameInSection.length > 0) return sameInSection
  const sibling = nearestName(key, siblings)
  if (same.length > 0 && sibling?.slice(0, -1) !== key) return same
  if (sibling !== undefined) return [dotted([...parent, sibling])]
  const similar = nearestName(key, new Set(all.map(last)))
  return similar === undefined ? [] : all.filter((name) => last(name) === similar)
}

function last(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1)
}

/** Dotted paths of all fields of the schema. */
function fields(field: JsonSchema, path: readonly string[]): string[] {
  const properties = objectOf(field)?.properties ?? {}
  return Object.entries(properties).flatMap(([key, child]) => [
    [...path, key].join('.'),
    ...fields(child, [...path, key]),
  ])
}

/** The names that users write for a field. */
const namesOf = ({ enum: names = [], file }: JsonSchema): readonly string[] =>
  file === undefined ? names : names.filter((name) => name !== 'own')

/** The values that a field accepts, as a noun phrase. */
function accepted(field: JsonSchema): string {
  if (field.anyOf) return listWithOr(field.anyOf.map(accepted))
  if (field.enum) return listWithOr([...namesOf(field), ...(field.file ? [`a file such as ${field.file}`] : [])])
  switch (field.type) {
    case 'boolean':
      return 'true or false'
    case 'string':
      return 'text'
    case 'null':
      return 'null'
    case 'array': {
      const items = field.items ? accepted(field.items) : 'values'
      const limit = field.maxItems === undefined ? '' : `, at most ${field.maxItems}`
      return `a ${field.minItems ? 'non-empty ' : ''}list of ${items}${limit}`
    }
    case 'object':
      return `a group of fields: ${Object.keys(field.properties ?? {}).join(', ')}`
    case 'integer':
      if (field.exclusiveMinimum === 0) return 'a positive integer'
      if (field.minimum !== undefined && field.maximum !== undefined && field.maximum < Number.MAX_SAFE_INTEGER)
        return `an integer from ${field.minimum} to ${field.maximum}`
      return field.minimum === 0 ? 'an integer of at least 0' : 'an integer'
    default:
      return acceptedNumber(field)
  }
}

function acceptedNumber({ minimum, exclusiveMinimum, maximum, exclusiveMaximum }: JsonSchema): string {
  const low =
    minimum !== undefined ? `at least ${minimum}` : exclusiveMinimum !== undefined && `above ${exclusiveMinimum}`
  const high =
    maximum !== undefined ? `at most ${maximum}` : exclusiveMaximum !== undefined && `below ${exclusiveMaximum}`
  if (low === 'above 0' && !high) return 'a positive number'
  const bounds = [low, high].filter((bound) => typeof bound === 'string')
  return bounds.length > 0 ? `a number ${bounds.join(' and ')}` : 'a number'
}

function fieldAt(root: JsonSchema, path: Path): JsonSchema | undefined {
  let field: JsonSchema | undefined = root
  for (const key of path) field = objectOf(field)?.properties?.[String(key)]
  return field
}

/** The field itself, or its alternative that is an object. */
function objectOf(field: JsonSchema | undefined): JsonSchema | undefined {
  return field?.anyOf?.find((option) => option.properties) ?? field
}

function valueAt(input: unknown, path: Path): unknown {
  let value = input
  for (const key of path)
    if (Array.isArray(value)) value = value[Number(key)]
    else value = isFields(value) && Object.hasOwn(value, key) ? value[String(key)] : undefined
  return value
}

function without(input: unknown, issues: readonly z.core.$ZodIssue[]): unknown {
  const copy = copyOf(input)
  for (const issue of issues) {
    const keys = issue.code === 'unrecognized_keys' ? issue.keys : [String(issue.path.at(-1))]
    const parent = valueAt(copy, issue.code === 'unrecognized_keys' ? issue.path : issue.path.slice(0, -1))
    if (isFields(parent)) for (const key of keys) delete parent[key]
  }
  return copy
}

/** A deep copy of plain values. Their leaves may be anything, and `structuredClone` throws for functions. */
function copyOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyOf)
  if (!isFields(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, below]) => [key, copyOf(below)]))
}

function dotted(path: Path): string {
  return path.map((key) => shortened(String(key))).join('.')
}

const shortened = (name: string): string => (name.length > 60 ? `${name.slice(0, 57)}...` : name)
