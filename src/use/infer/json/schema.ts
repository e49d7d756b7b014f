/**
 * Makes a grammar of a JSON Schema. The grammar has the texts of valid values, and no others. A keyword that the grammar
 * cannot follow is refused, since a text that ignores it might be invalid.
 *
 * Some valid values are left out: an object has its properties in the order of the schema and no others, and numbers
 * have a limited number of digits.
 */
import { type Fields, isFields } from '../../../core/config/fields.ts'
import { expectPlain } from '../../../core/config/plain.ts'
import { listWithOr } from '../../../core/config/problems.ts'
import { grouped } from '../../../core/text/numbers.ts'
import { dictionary, list, record } from './containers.ts'
import { type Bound, decimal } from './decimals.ts'
import {
  annotations,
  countsOf,
  expectOnly,
  keywordsOf,
  numeric,
  pathOf,
  refused,
  SchemaError,
  typeNames,
  types,
  typesOf,
} from './keywords.ts'
import { END, type GrammarNode, literal } from './nodes.ts'
import { anyNumber, constant, string } from './scalars.ts'

/** A JSON Schema: an object, or `true` for any value. */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown }

/** Most values and constants of a schema. */
const MAX_VALUES = 4096

/** The values of one type, and the values that each of them contains. */
interface Form {
  readonly start: GrammarNode
  readonly needs: readonly Value[]
}

/** A schema within the schema. Its forms are known when the whole schema has been read. */
class Value {
  readonly place: string
  /** One of these it is. */
  readonly forms: Form[] = []
  readonly others: Value[] = []

  constructor(place: string) {
    this.place = place
  }

  *[Symbol.iterator](): Generator<GrammarNode> {
    const all = new Set<Value>([this])
    for (const { forms, others } of all) {
      for (const { start } of forms) yield start
      for (const other of others) all.add(other)
    }
  }
}

/**
 * The nodes with one of which a valid text begins.
 * @param subject Names the schema in messages.
 * @throws SchemaError naming the keyword that is wrong or not supported; UsageError if the schema is nested too deep
 */
export function grammarOf(schema: unknown, subject: string): Iterable<GrammarNode> {
  expectPlain(schema, subject)
  const reader = new SchemaReader(JSON.parse(JSON.stringify(schema ?? null)), subject)
  return reader.read()
}

class SchemaReader {
  private readonly root: unknown
  private readonly subject: string
  private readonly values = new Map<unknown, Value>()
  private readonly all: Value[] = []
  /** Schemas that are referred to and not read yet. */
  private readonly pending: (() => void)[] = []
  private readonly forms = new Map<string, Form>()
  private anyValue: Value | undefined
  private count = 0

  constructor(root: unknown, subject: string) {
    this.root = root
    this.subject = subject
  }

  read(): Value {
    const root = this.valueOf(this.root, this.subject)
    for (let next = this.pending.pop(); next !== undefined; next = this.pending.pop()) next()
    const endless = this.endless()
    if (endless)
      throw new SchemaError(
        endless.place,
        `invalid ${endless.place}: no value of it ends, since each contains another one (make a property optional, or accept null in its place)`,
      )
    return root
  }

  /** The value of a schema, whose keywords are read now. */
  private valueOf(schema: unknown, place: string): Value {
    if (schema === true) return this.any
    const known = this.values.get(schema)
    if (known) return known
    const value = this.newValue(place)
    this.values.set(schema, value)
    this.fill(value, schema, place)
    return value
  }

  private newValue(place: string): Value {
    const value = new Value(place)
    this.all.push(value)
    this.expectFew(place)
    return value
  }

  private expectFew(place: string): void {
    if (++this.count > MAX_VALUES)
      throw new SchemaError(
        place,
        `invalid ${this.subject}: it has more than ${grouped(MAX_VALUES)} schemas and constants (use a smaller schema)`,
      )
  }

  private fill(value: Value, schema: unknown, place: string): void {
    if (!isFields(schema)) throw refused(place, schema, 'a schema, which is an object or true')
    const { $ref, anyOf, type, ...rest } = schema
    if ($ref !== undefined) {
      expectOnly(schema, place, ['$ref'])
      value.others.push(this.referred($ref, `${place}.$ref`))
    } else if (anyOf !== undefined) {
      expectOnly(schema, place, ['anyOf'])
      if (!Array.isArray(anyOf) || anyOf.length === 0) throw refused(`${place}.anyOf`, anyOf, 'a list of schemas')
      for (const [i, each] of anyOf.entries()) value.others.push(this.valueOf(each, `${place}.anyOf.${i}`))
    } else if (schema.enum !== undefined || schema.const !== undefined) this.fillConstants(value, schema, place)
    else if (type === undefined && Object.keys(rest).every((keyword) => annotations.has(keyword)))
      value.others.push(this.any)
    else {
      if (type === undefined) expectOnly(schema, place, Object.values(keywordsOf).flat())
      const given = typesOf(type, `${place}.type`)
      expectOnly(schema, place, ['type', ...given.flatMap((name) => keywordsOf[name] as readonly string[])])
      for (const name of given) value.forms.push(...this.formsOf(name, schema, place))
    }
  }

  private fillConstants(value: Value, schema: Fields, place: string): void {
    const isEnum = schema.enum !== undefined
    const keyword = isEnum ? 'enum' : 'const'
    expectOnly(schema, place, [keyword, 'type'])
    if (isEnum && !(Array.isArray(schema.enum) && schema.enum.length > 0))
      throw refused(`${place}.enum`, schema.enum, 'a list of values')
    const accepted = schema.type === undefined ? null : typesOf(schema.type, `${place}.type`)
    const given = isEnum ? (schema.enum as unknown[]) : [schema.const]
    const values = given.filter((each) => accepted === null || typeNames(each).some((name) => accepted.includes(name)))
    if (values.length === 0)
      throw refused(`${place}.${keyword}`, schema[keyword], `a value of the type ${listWithOr(accepted ?? [])}`)
    for (const each of values) {
      this.expectFew(`${place}.${keyword}`)
      value.forms.push({ start: constant(each), needs: [] })
    }
  }

  private formsOf(type: string, schema: Fields, place: string): Form[] {
    switch (type) {
      case 'object':
        return [this.objectOf(schema, place)]
      case 'array': {
        const [min, max] = countsOf(schema, place, 'minItems', 'maxItems')
        const items = this.valueOf(schema.items ?? true, `${place}.items`)
        return [{ start: list(items, min, max), needs: min > 0 ? [items] : [] }]
      }
      case 'string': {
        const [min, max] = countsOf(schema, place, 'minLength', 'maxLength')
        return [this.same(`string ${min} ${max}`, () => string(min, max))]
      }
      case 'boolean':
        return ['true', 'false'].map((text) => this.same(text, () => literal(text, END)))
      case 'null':
        return [this.same('null', () => literal('null', END))]
      default:
        return [this.numberOf(type, schema, place)]
    }
  }

  private objectOf({ properties, required = [], additionalProperties }: Fields, place: string): Form {
    if (!Array.isArray(required) || !required.every((name) => typeof name === 'string'))
      throw refused(`${place}.required`, required, 'a list of names')
    const names = isFields(properties) ? Object.keys(properties) : []
    const unknown = required.find((name) => !names.includes(name))
    if (unknown !== undefined) throw refused(`${place}.required`, unknown, 'names of properties')
    if (properties === undefined && additionalProperties !== false) {
      const values = this.valueOf(additionalProperties ?? true, `${place}.additionalProperties`)
      return { start: dictionary(string(0, Number.POSITIVE_INFINITY), values), needs: [] }
    }
    if (properties !== undefined && !isFields(properties))
      throw refused(`${place}.properties`, properties, 'an object of schemas')
    if (additionalProperties !== undefined && additionalProperties !== false)
      throw refused(
        `${place}.additionalProperties`,
        additionalProperties,
        'false beside properties: no others are written',
      )
    const members = Object.entries(properties ?? {}).map(([name, schema]) => ({
      name,
      value: this.valueOf(schema, `${place}.properties.${name.slice(0, 60)}`),
      isRequired: required.includes(name),
    }))
    return { start: record(members), needs: members.filter(({ isRequired }) => isRequired).map(({ value }) => value) }
  }

  private numberOf(type: string, schema: Fields, place: string): Form {
    const boundOf = (keyword: string): Bound[] => {
      const value = schema[keyword]
      if (value === undefined) return []
      if (typeof value !== 'number') throw refused(`${place}.${keyword}`, value, 'a number')
      return [{ value, isExclusive: keyword.startsWith('exclusive') }]
    }
    const low = [...boundOf('minimum'), ...boundOf('exclusiveMinimum')]
    const high = [...boundOf('maximum'), ...boundOf('exclusiveMaximum')]
    const isInteger = type === 'integer'
    if (!isInteger && low.length === 0 && high.length === 0) return this.same('number', anyNumber)
    if (isInteger) {
      low.push({ value: Number.MIN_SAFE_INTEGER, isExclusive: false })
      high.push({ value: Number.MAX_SAFE_INTEGER, isExclusive: false })
    }
    const start = decimal({ low, high, digits: isInteger ? 16 : 15, hasFraction: !isInteger })
    if (start) return { start, needs: [] }
    throw new SchemaError(
      place,
      `invalid ${place}: no ${type} of at most ${isInteger ? 16 : 15} digits is within its bounds (change ${numeric.filter((keyword) => schema[keyword] !== undefined).join(' or ')})`,
    )
  }

  /** A form that several places share. */
  private same(key: string, make: () => GrammarNode): Form {
    const form = this.forms.get(key) ?? { start: make(), needs: [] }
    this.forms.set(key, form)
    return form
  }

  /** Any value of JSON. */
  private get any(): Value {
    if (this.anyValue) return this.anyValue
    const value = this.newValue(this.subject)
    this.anyValue = value
    for (const type of types) if (type !== 'integer') value.forms.push(...this.formsOf(type, {}, this.subject))
    return value
  }

  private referred(ref: unknown, place: string): Value {
    const path = typeof ref === 'string' ? pathOf(ref) : null
    if (!path) throw refused(place, ref, 'a place in the schema, such as "#/$defs/name" or "#"')
    let schema = this.root
    for (const name of path) {
      const below: unknown =
        typeof schema === 'object' && schema !== null && Object.hasOwn(schema, name)
          ? Reflect.get(schema, name)
          : undefined
      if (below === undefined) throw refused(place, ref, 'a place that the schema has')
      schema = below
    }
    if (schema === true) return this.any
    const known = this.values.get(schema)
    if (known) return known
    // Schemas may refer to each other in a long chain, so they are read one after the other.
    const where = [this.subject, ...path].join('.')
    const value = this.newValue(where)
    this.values.set(schema, value)
    this.pending.push(() => this.fill(value, schema, where))
    return value
  }

  /**
   * A schema whose values cannot end, if there is one. A text must not begin such a value, even if it need not be there.
   */
  private endless(): Value | undefined {
    const ending = new Set<Value>()
    for (let before = -1; before < ending.size; ) {
      before = ending.size
      for (const value of this.all) {
        const { forms, others } = value
        const ends = ({ needs }: Form) => needs.every((each) => ending.has(each))
        if (forms.some(ends) || others.some((other) => ending.has(other))) ending.add(value)
      }
    }
    return this.all.find((value) => !ending.has(value))
  }
}
