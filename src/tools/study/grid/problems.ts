/**
 * Messages about wrong values of a specification: path, value, what is accepted, and the nearest name. Zod finds where a
 * value is wrong. The accepted fields and values come from the schema as JSON Schema, so new fields need no message.
 * `core/config/problems.ts` does the same for configurations; a specification also has lists, pairs, names that users
 * choose, and claims whose fields depend on their kind.
 */
import type { z } from 'zod'
import { expectationOf } from '../../../core/config/expected.ts'
import { type Fields, isFields } from '../../../core/config/fields.ts'
import { type JsonSchema, jsonSchemaOf } from '../../../core/config/json-schema.ts'
import { formatValue, listWithOr, suggestion } from '../../../core/config/problems.ts'
import { nearestName } from '../../../core/text/nearest.ts'
import { plural } from '../../../core/text/numbers.ts'
import { valueAt } from './settings.ts'

type Path = readonly PropertyKey[]

/** One line for each problem of `content`, which `schema` refused with `issues`. */
export function problemsOf(schema: z.ZodType, issues: readonly z.core.$ZodIssue[], content: unknown): string[] {
  const root = jsonSchemaOf(schema)
  return [...new Set(issues.flatMap((issue) => new Explanation(root, content).of(issue)))]
}

class Explanation {
  private readonly root: JsonSchema
  private readonly content: unknown

  constructor(root: JsonSchema, content: unknown) {
    this.root = root
    this.content = content
  }

  of(issue: z.core.$ZodIssue): string[] {
    const { path, code } = issue
    if (code === 'unrecognized_keys') return issue.keys.map((key) => this.unknownField(path, key))
    const value = valueAt(this.content, path)
    const owner = isFields(value) ? path : path.slice(0, -1)
    const misspelt = this.misspelt(owner)
    // A rule between fields is broken only because one of them is misspelt.
    if (code === 'custom' && (value === undefined || isFields(value)) && misspelt.length > 0) return []
    if (value === undefined) {
      const found = misspelt.filter(({ near }) => near === path.at(-1))
      if (found.length > 0) return found.map(({ key }) => this.unknownField(owner, key))
    }
    return [`invalid ${dotted(path) || 'study'}: ${formatValue(value)} (${this.expectation(issue, value)})`]
  }

  private unknownField(parent: Path, key: string): string {
    const { names, kind, kinds } = this.section(parent)
    const near = nearestName(key, names)
    const others = kinds.filter((one) => fieldOf(one, key)).flatMap(kindOf)
    const inside = names.find((name) => fieldsOf(this.nodeAt([...parent, name])).includes(key))
    const meant = near ?? (inside === undefined ? undefined : `${inside}.${key}`)
    const hint = meant === undefined ? '' : `; did you mean "${dotted([...parent, meant])}"?`
    const elsewhere = others.length === 0 ? '' : `; ${key} is a field of kind ${listWithOr(others)}`
    const where = parent.length === 0 ? '' : ` in ${dotted(parent)}${kind}`
    const path = [...parent, key]
    return `unknown field ${dotted(path)}: ${formatValue(valueAt(this.content, path))} (accepted${where}: ${names.join(', ')}${elsewhere || hint})`
  }

  /** Unknown fields of an object that are similar to an accepted field. */
  private misspelt(path: Path): { readonly key: string; readonly near: string }[] {
    const value = valueAt(this.content, path)
    const { names } = this.section(path)
    if (!isFields(value) || names.length === 0) return []
    return Object.keys(value).flatMap((key) => {
      const near = names.includes(key) ? undefined : nearestName(key, names)
      return near === undefined ? [] : [{ key, near }]
    })
  }

  /** The fields that an object accepts. Of a claim: those of its kind, its kind in words, and all kinds. */
  private section(path: Path): { names: readonly string[]; kind: string; kinds: readonly JsonSchema[] } {
    const node = this.nodeAt(path)
    const kinds = node?.oneOf ?? []
    const own = chosen(node, valueAt(this.content, path))
    if (own?.properties)
      return {
        names: Object.keys(own.properties),
        kind: kinds.length > 0 ? ` with kind ${kindOf(own)}` : '',
        kinds,
      }
    return { names: fieldsOf(node), kind: '', kinds }
  }

  private expectation(issue: z.core.$ZodIssue, value: unknown): string {
    const { path, code } = issue
    const node = this.nodeAt(path)
    if (code === 'custom' || node === undefined) return expectationOf(issue)
    if (node.prefixItems) return 'expected a pair, [baseline, arm]'
    if (node.enum) {
      const { kind, kinds } = this.section(path.slice(0, -1))
      const accepted = (one: JsonSchema) => fieldOf(one, String(path.at(-1)))?.enum ?? []
      const others = kinds.filter((one) => typeof value === 'string' && accepted(one).includes(value)).flatMap(kindOf)
      const depends = new Set(kinds.map((one) => accepted(one).join()).filter((values) => values !== '')).size > 1
      const reason = Object.entries(node.refused ?? {}).find(([refused]) => refused === value)?.[1]
      if (reason !== undefined) return `expected ${listWithOr(node.enum)}; ${reason}`
      const elsewhere = others.length === 0 ? '' : `; ${value} is of kind ${listWithOr(others)}`
      return `expected ${listWithOr(node.enum)}${depends ? kind : ''}${elsewhere || suggestion(value, node.enum)}`
    }
    if (code === 'too_big' && issue.origin === 'array')
      return `expected at most ${plural(Number(issue.maximum), 'entry', 'entries')}`
    if (code === 'too_big' && issue.origin !== 'string') return `expected a number of at most ${issue.maximum}`
    if (code !== 'invalid_type') return expectationOf(issue)
    const fields = chosen(node, {})?.properties ?? node.oneOf?.[0]?.properties
    if (fields) return `expected a group of fields: ${Object.keys(fields).join(', ')}`
    if (issue.expected === 'array' && node.items && isOfType(value, node.items))
      return isNumberOfSeeds(path, value)
        ? `expected a list: for ${value} seeds, [${Array.from({ length: value }, (_, i) => i + 1).join(', ')}]`
        : `expected a list, such as [${formatValue(value)}]`
    if (issue.expected === 'string' && (typeof value === 'number' || typeof value === 'boolean'))
      return 'expected text; put it in quotes'
    return expectationOf(issue)
  }

  private nodeAt(path: Path): JsonSchema | undefined {
    let node: JsonSchema | undefined = this.root
    let value = this.content
    for (const key of path) {
      node = below(chosen(node, value) ?? node, key)
      value = valueAt(value, [key])
    }
    return node
  }
}

/** The alternative that a value belongs to: by its kind, or the one with fields. The node itself without alternatives. */
function chosen(node: JsonSchema | undefined, value: unknown): JsonSchema | undefined {
  const kind = isFields(value) ? (value as Fields).kind : undefined
  if (node?.oneOf) return node.oneOf.find(({ properties }) => properties?.kind?.const === kind)
  return node?.anyOf?.find(({ type }) => type === 'object') ?? node
}

function below(node: JsonSchema | undefined, key: PropertyKey): JsonSchema | undefined {
  if (node?.oneOf) return { enum: node.oneOf.flatMap((one) => fieldOf(one, String(key))?.const ?? []) }
  const { additionalProperties, prefixItems, items } = node ?? {}
  return fieldOf(node, String(key)) ?? prefixItems?.[Number(key)] ?? (additionalProperties || items || undefined)
}

const fieldOf = (node: JsonSchema | undefined, key: string): JsonSchema | undefined =>
  node?.properties && Object.hasOwn(node.properties, key) ? node.properties[key] : undefined

/** The fields of an object, or of all kinds of a claim. */
const fieldsOf = (node: JsonSchema | undefined): string[] => [
  ...new Set([node, ...(node?.oneOf ?? [])].flatMap((one) => Object.keys(one?.properties ?? {}))),
]

const kindOf = ({ properties }: JsonSchema): string[] => (properties?.kind?.const ? [properties.kind.const] : [])

const isOfType = (value: unknown, { type }: JsonSchema): boolean =>
  type === 'string' ? typeof value === 'string' : typeof value === 'number' && (type === 'integer' || type === 'number')

const dotted = (path: Path): string => path.map(String).join('.')

/** Whether a number stands where seeds do, and is rather how many seeds are wanted. */
const isNumberOfSeeds = (path: Path, value: unknown): value is number =>
  path.at(-1) === 'seeds' && typeof value === 'number' && Number.isInteger(value) && value > 1 && value <= 20
