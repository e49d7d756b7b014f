/** Random schemas, random values of a schema, and a tokenizer whose tokens are cut anywhere. */
import fc from 'fast-check'
import { byteCharacters } from '../../../../train/data/tokenizer/bytelevel.ts'
import { byteLevelTokenizer } from '../../../../train/data/tokenizer/tokenizer.ts'
import { byteLevelJson } from '../../../../train/data/tokenizer/tokenizer-json.ts'

// biome-ignore lint/suspicious/noExplicitAny: schemas are read as they are
export type Schema = any

const merged = [
  '":',
  '": ',
  ', ',
  '",',
  ', "',
  '"}',
  '}]',
  '},',
  '{"',
  '["',
  'tr',
  'true',
  '12',
  '-1',
  '.5',
  '\\u',
  'ab',
  '€',
  'é"',
]
/** Bytes that begin or end inside of a character. */
const cut = [Buffer.from('€').subarray(0, 2), Buffer.from('a😀').subarray(0, 3), Buffer.from('😀é').subarray(3)]

const characters = (bytes: Uint8Array) => Array.from(bytes, (byte) => byteCharacters[byte] as string)

/** A tokenizer with the bytes, and with tokens of several bytes that are made of a first byte and the rest. */
export const tokenizer = (() => {
  const merges: [string, string][] = []
  for (const text of [...merged.map((text) => Buffer.from(text)), ...cut]) {
    const all = characters(text)
    for (let length = 2; length <= all.length; length++)
      merges.push([all.slice(0, length - 1).join(''), all[length - 1] as string])
  }
  return byteLevelTokenizer(byteLevelJson(merges))
})()

const names = fc.constantFrom('a', 'b', 'name', 'é', 'x"y', 'constructor', '')
const scalar = fc.oneof(
  fc.constantFrom(null, true, false, 0, -1, 1.5, 1e21, 12, '', 'ab', 'é"\\\n', '😀'),
  fc.string({ unit: 'grapheme', maxLength: 4 }),
)
const counts = fc
  .tuple(fc.nat(3), fc.nat(3))
  .chain(([min, more]) =>
    fc.constantFrom<readonly (number | undefined)[]>(
      [min, min + more],
      [min, undefined],
      [undefined, min + more],
      [undefined, undefined],
    ),
  )
const defined = (fields: object) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
const bound = fc.oneof(
  fc.integer({ min: -200, max: 200 }),
  fc.integer({ min: -2000, max: 2000 }).map((n) => n / 100),
)

const bounds = fc
  .tuple(
    bound,
    bound,
    fc.constantFrom('minimum', 'exclusiveMinimum'),
    fc.constantFrom('maximum', 'exclusiveMaximum'),
    fc.nat(3),
  )
  .map(([a, b, low, high, which]): object => ({
    ...((which & 1) === 0 && { [low]: Math.min(a, b) - 1 }),
    ...((which & 2) === 0 && { [high]: Math.max(a, b) + 1 }),
  }))

const { schema: inner } = fc.letrec<{ schema: Schema; leaf: Schema }>((tie) => ({
  leaf: fc.oneof(
    counts.map(([minLength, maxLength]) => defined({ type: 'string', minLength, maxLength })),
    bounds.map((given) => ({ type: 'number', ...given })),
    bounds.map((given) => ({ type: 'integer', ...given })),
    fc.constantFrom(
      { type: 'boolean' },
      { type: ['null', 'string'] },
      { type: 'object' },
      {},
      { $ref: '#/$defs/tree' },
    ),
    fc.array(scalar, { minLength: 1, maxLength: 4 }).map((values) => ({ enum: values })),
    fc.oneof(scalar, fc.constantFrom([1, 'a'], { b: [], a: { c: null } })).map((value) => ({ const: value })),
  ),
  schema: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    tie('leaf'),
    fc
      .tuple(tie('schema'), counts)
      .map(([items, [minItems, maxItems]]) => defined({ type: 'array', items, minItems, maxItems })),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
    tie('leaf').map((additionalProperties) => ({ type: 'object', additionalProperties })),
    fc
      .uniqueArray(fc.tuple(names, tie('schema'), fc.boolean()), { maxLength: 4, selector: ([name]) => name })
      .map((members) => ({
        type: 'object',
        properties: Object.fromEntries(members),
        required: members.filter(([, , isRequired]) => isRequired).map(([name]) => name),
        additionalProperties: false,
      })),
  ),
}))

/** A schema of the accepted keywords, with a recursive definition. */
export const anySchema: fc.Arbitrary<Schema> = inner.map((schema) => ({
  ...schema,
  $defs: {
    tree: {
      title: 'a tree',
      type: 'object',
      properties: {
        value: { type: ['integer', 'null'] },
        left: { $ref: '#/$defs/tree' },
        right: { $ref: '#/$defs/tree' },
      },
      required: ['value'],
    },
  },
}))

/** Any value without half of a surrogate pair, and without numbers of large exponents. */
const anyValue = fc.jsonValue({ maxDepth: 2 }).filter((value) => !/e[+-]\d{3}|\\ud[89a-f]/i.test(JSON.stringify(value)))

const SAFE = Number.MAX_SAFE_INTEGER

/** Values that a schema of {@link anySchema} allows, with properties in the order of the schema. */
export function valuesOf(schema: Schema, root: Schema, depth = 0): fc.Arbitrary<unknown> {
  const of = (other: Schema) => valuesOf(other, root, depth + 1)
  if (schema.$ref) return of(root.$defs.tree)
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map(of))
  if (schema.enum) return fc.constantFrom(...schema.enum)
  if ('const' in schema) return fc.constant(schema.const)
  if (Array.isArray(schema.type)) return fc.oneof(...schema.type.map((type: string) => of({ ...schema, type })))
  switch (schema.type) {
    case 'string':
      return fc
        .array(
          fc.oneof(fc.constantFrom(...'a"\\\u0001\n/é€😀'), fc.string({ unit: 'binary', minLength: 1, maxLength: 1 })),
          {
            minLength: schema.minLength ?? 0,
            maxLength: schema.maxLength ?? 6,
          },
        )
        .map((all) => all.join(''))
        .filter((text) => !/\p{Surrogate}/u.test(text))
    case 'integer':
    case 'number': {
      const isInteger = schema.type === 'integer'
      const low = schema.minimum ?? schema.exclusiveMinimum ?? -SAFE
      const high = schema.maximum ?? schema.exclusiveMaximum ?? SAFE
      const isWithin = (n: number) =>
        n >= low && n <= high && n !== schema.exclusiveMinimum && n !== schema.exclusiveMaximum
      if (isInteger) return fc.integer({ min: Math.ceil(low), max: Math.floor(high) }).filter(isWithin)
      const isFree = !Object.keys(schema).some((key) => /imum/i.test(key))
      if (isFree)
        return fc.double({ noNaN: true }).filter((n) => n === 0 || (Math.abs(n) < 1e99 && Math.abs(n) > 1e-99))
      const [from, to] = [Math.max(low, -1e9), Math.min(high, 1e9)]
      return fc
        .double({ min: from, max: to, noNaN: true })
        .map((n) => Number(n.toFixed(5)))
        .filter(isWithin)
    }
    case 'boolean':
      return fc.boolean()
    case 'null':
      return fc.constant(null)
    case 'array':
      return fc.array(of(schema.items), { minLength: schema.minItems ?? 0, maxLength: schema.maxItems ?? 4 })
    case 'object': {
      if (!schema.properties)
        return fc.dictionary(names, schema.additionalProperties ? of(schema.additionalProperties) : anyValue, {
          maxKeys: 3,
          noNullPrototype: true,
        })
      const members = Object.entries<Schema>(schema.properties).map(([name, value]) => {
        const isRequired = (schema.required ?? []).includes(name)
        if (!isRequired && depth > 4) return fc.constant([])
        const pair = of(value).map((given) => [[name, given]])
        return isRequired ? pair : fc.oneof(pair, fc.constant([]))
      })
      return fc.tuple(...members).map((parts) => Object.fromEntries(parts.flat() as [string, unknown][]))
    }
    default:
      return anyValue
  }
}
