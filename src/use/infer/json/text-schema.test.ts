/**
 * Texts by random schemas: what comes out is valid, and what is valid can come out. Ajv is the witness.
 *
 * @slow
 */
import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mixtralFiles } from '../../../../test/interchange/tokenizers.ts'
import { runs } from '../../../../test/support/soak.ts'
import { type Random, randomFor } from '../../../core/random.ts'
import { tokenizerFromJson } from '../../../node/data/tokenizer/native-tokenizer.ts'
import { type SamplingOptions, sample } from '../generation/sampling.ts'
import { Recognizer, type State } from './recognizer.ts'
import { grammarOf } from './schema.ts'
import { anySchema, type Schema, tokenizer, valuesOf } from './testing/schemas.ts'
import { type SchemaText, TextSchema } from './text-schema.ts'
import { Vocabulary } from './vocabulary.ts'

const { vocabulary, endOfText } = tokenizer
const ajv = new Ajv2020({ strict: false, ownProperties: true, addUsedSchema: false })
const tokens = Array.from({ length: endOfText }, (_, id) => ({ id, bytes: tokenizer.bytes(id) }))
const all = { temperature: 1, topK: 0, topP: 1 }
const begin = (schema: Schema): SchemaText => new TextSchema(schema, 'schema', tokenizer).begin()

/** Samples the next token of a text, as a model would, and adds it. */
function next(text: SchemaText, logits: Float32Array, options: SamplingOptions, random: Random): number {
  const ids = text.allowed()
  const among = Float32Array.from(ids, (id) => logits[id] as number)
  const token = ids[sample(among, ids.length, options, random)] as number
  text.add(token)
  return token
}

/** The state after a text; null if the text cannot come. */
function read(recognizer: Recognizer, bytes: Iterable<number>): State | null {
  let state: State | null = recognizer.start
  for (const byte of bytes) state = state && recognizer.next(state, byte)
  return state
}

/** Whether a whole text is in the grammar of a schema. */
function accepts(recognizer: Recognizer, text: string | Uint8Array): boolean {
  const state = read(recognizer, Buffer.from(text as string))
  return state !== null && recognizer.isComplete(state)
}
const recognizerOf = (schema: Schema) => new Recognizer(grammarOf(schema, 'schema'))

/** Writes a text with a model that knows nothing, which after a while likes what ends a value. */
function write(text: SchemaText, random: Random, limit: number): { readonly ids: number[]; readonly isWhole: boolean } {
  const closing = new Set([...Buffer.from('"]}0')])
  const ids: number[] = []
  while (ids.length < limit) {
    if (text.isOver) return { ids, isWhole: true }
    // There is no dead end.
    expect(text.allowed().length).toBeGreaterThan(0)
    const haste = ids.length < 12 ? 1 : 8
    const logits = Float32Array.from(
      { length: vocabulary },
      (_, id) => (closing.has(id) || id === endOfText ? haste : 0) + random.uniform(),
    )
    const id = next(text, logits, all, random)
    if (id === endOfText) return { ids, isWhole: true }
    ids.push(id)
  }
  return { ids, isWhole: false }
}

test('every whole text that a random model writes is JSON, and valid by ajv', () => {
  let [whole, count] = [0, 0]
  fc.assert(
    fc.property(anySchema, fc.nat(), (schema, seed) => {
      const isValid = ajv.compile(schema)
      const parsed = new TextSchema(schema, 'schema', tokenizer)
      for (let i = 0; i < 3; i++) {
        const { ids, isWhole } = write(parsed.begin(), randomFor(seed + i, 'text'), 300)
        count++
        const bytes = Buffer.concat(ids.map((id) => tokenizer.bytes(id)))
        if (!isWhole) continue
        whole++
        const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
        expect(text).toBe(tokenizer.decode(ids))
        expect(isValid(JSON.parse(text)), text).toBe(true)
      }
    }),
    runs(30),
  )
  // Most texts end.
  expect(whole).toBeGreaterThan(0.8 * count)
})

test('texts of a tokenizer of SentencePiece, whose spaces are a sign and whose bytes are tokens, are valid too', () => {
  const sentencePiece = tokenizerFromJson(mixtralFiles['tokenizer.json'] as string)
  const schema = {
    type: 'array',
    minItems: 3,
    maxItems: 3,
    items: { type: 'object', properties: { 'a é': { type: 'string', minLength: 3, maxLength: 6 } }, required: ['a é'] },
  }
  const isValid = ajv.compile(schema)
  const parsed = new TextSchema(schema, 'schema', sentencePiece)
  let spaces = 0
  for (let seed = 0; seed < 10; seed++) {
    const text = parsed.begin()
    const random = randomFor(seed, 'text')
    const ids: number[] = []
    while (!text.isOver) {
      const logits = Float32Array.from({ length: sentencePiece.vocabulary }, () => random.uniform())
      ids.push(next(text, logits, all, random))
    }
    const written = sentencePiece.decode(ids)
    expect(isValid(JSON.parse(written)), written).toBe(true)
    spaces += ids.filter((id) => id === 259).length
  }
  expect(spaces).toBeGreaterThan(10)
})

test('every valid value can be written, however it is cut into tokens', () => {
  fc.assert(
    fc.property(
      anySchema.chain((schema) => fc.tuple(fc.constant(schema), valuesOf(schema, schema))),
      fc.nat(),
      ([schema, value], seed) => {
        const random = randomFor(seed, 'cuts')
        const text = begin(schema)
        const bytes = Buffer.from(JSON.stringify(value))
        for (let at = 0; at < bytes.length; ) {
          const fits = tokens.filter(({ bytes: token }) => bytes.subarray(at, at + token.length).equals(token))
          const { id } = fits[Math.floor(random.uniform() * fits.length)] as { id: number }
          const logits = new Float32Array(vocabulary)
          logits[id] = 1
          expect([...text.allowed()], `${bytes} at ${at}`).toContain(id)
          expect(next(text, logits, { ...all, temperature: 0 }, random)).toBe(id)
          at += tokenizer.bytes(id).length
        }
        expect(text.isOver || text.allowed().includes(endOfText), String(bytes)).toBe(true)
      },
    ),
    runs(30),
  )
})

test('a valid text with a changed byte is refused, or is valid too', () => {
  let refused = 0
  fc.assert(
    fc.property(
      anySchema.chain((schema) => fc.tuple(fc.constant(schema), valuesOf(schema, schema))),
      fc.nat(),
      fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('"\\{}[]:, 019.-eu'))),
      ([schema, value], place, byte) => {
        const recognizer = recognizerOf(schema)
        const bytes = Buffer.from(JSON.stringify(value))
        expect(accepts(recognizer, bytes)).toBe(true)
        bytes[place % bytes.length] = byte
        if (!accepts(recognizer, bytes)) {
          refused++
          return
        }
        const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
        expect(ajv.validate(schema, JSON.parse(text)), text).toBe(true)
      },
    ),
    runs(75),
  )
  expect(refused).toBeGreaterThan(12)
})

test('the tokens that may come are those that may come alone', () => {
  const known = new Vocabulary(tokenizer)
  fc.assert(
    fc.property(anySchema, fc.nat(), (schema, seed) => {
      const recognizer = recognizerOf(schema)
      const { ids } = write(begin(schema), randomFor(seed, 'text'), 20)
      for (let count = 0; count <= ids.length; count += 3) {
        const before = Buffer.concat(ids.slice(0, count).map((id) => tokenizer.bytes(id)))
        const state = read(recognizer, before) as State
        const alone = Array.from({ length: vocabulary }, (_, id) => id).filter((id) =>
          id === endOfText
            ? recognizer.isComplete(state)
            : read(recognizer, [...before, ...tokenizer.bytes(id)]) !== null,
        )
        expect([...known.allowed(recognizer, state)]).toEqual(alone)
      }
    }),
    runs(10),
  )
})

test('numbers are those within the bounds', () => {
  for (const [min, max] of [
    [-12, 5],
    [0, 0],
    [7, 130],
    [-130, -7],
    [-1, 1000],
  ] as const) {
    const recognizer = recognizerOf({ type: 'integer', minimum: min, exclusiveMaximum: max + 1 })
    for (let n = -1200; n <= 1200; n++) expect(accepts(recognizer, String(n)), `${n}`).toBe(min <= n && n <= max)
  }
  const share = recognizerOf({ type: 'number', exclusiveMinimum: 0.1, maximum: 0.35 })
  for (let n = -500; n <= 500; n++) expect(accepts(share, String(n / 1000)), `${n}`).toBe(n > 100 && n <= 350)
  for (const text of ['00.2', '0.', '.2', '2e-1', '-0.2', '0.2.', '']) expect(accepts(share, text), text).toBe(false)
  // With more digits, a number below the bound would be read as the bound.
  const below = recognizerOf({ type: 'number', exclusiveMaximum: 1_000_000 })
  expect(accepts(below, '999999.99999999')).toBe(true)
  expect(accepts(below, '999999.99999999999999')).toBe(false)
})

test('between two items may be one space, and nowhere else', () => {
  const recognizer = recognizerOf({
    type: 'object',
    properties: { a: { type: 'array', items: { type: 'integer' } }, b: {} },
  })
  for (const text of ['{"a":[1,2],"b":null}', '{"a": [1, 2], "b": null}', '{"b":1.5e-7}', '{}'])
    expect(accepts(recognizer, text), text).toBe(true)
  for (const text of [
    ' {}',
    '{ }',
    '{"a":  []}',
    '{"a":[1 ,2]}',
    '{"a":[ 1]}',
    '{}\n',
    '{"b":1,"a":[]}',
    '{"a":[],}',
    '{"c":1}',
  ])
    expect(accepts(recognizer, text), text).toBe(false)
})

test('a text that can be read in exponentially many ways is read in little time', () => {
  const way = (name: string) => ({ type: 'object', properties: { a: { $ref: '#' }, [name]: {} }, required: [name] })
  const recognizer = recognizerOf({ anyOf: [way('x'), way('y'), way('z')] })
  const text = `${'{"a":'.repeat(2000)}{"y":1}${',"x":1}'.repeat(2000)}`
  expect(accepts(recognizer, text)).toBe(true)
  expect(accepts(recognizer, text.replace(',"x":1', ''))).toBe(false)
})

test('a long string is read, and no more characters than it may have', () => {
  const recognizer = recognizerOf({ type: 'string', minLength: 19_998, maxLength: 20_000 })
  for (const [length, isAccepted] of [
    [19_997, false],
    [19_998, true],
    [20_000, true],
    [20_001, false],
  ] as const)
    expect(accepts(recognizer, JSON.stringify('é'.repeat(length)))).toBe(isAccepted)
})

test('special tokens cannot come, even if their texts could', () => {
  const text = begin({ type: 'string' })
  next(
    text,
    Float32Array.from({ length: vocabulary }, () => 0),
    { ...all, temperature: 0 },
    randomFor(1, 'first'),
  )
  expect(Buffer.from(tokenizer.bytes(endOfText)).toString()).toBe('<|endoftext|>')
  expect([...text.allowed()]).not.toContain(endOfText)
})

const tree = {
  $defs: { node: { type: 'object', properties: { next: { $ref: '#/$defs/node' } }, required: ['next'] } },
  $ref: '#/$defs/node',
}

const refused: readonly [Schema, RegExp][] = [
  [
    { type: 'string', pattern: 'a+' },
    /unsupported keyword schema\.pattern: "a\+" \(accepted here: type, minLength, maxLength\)/,
  ],
  [{ type: 'object', properties: { when: { type: 'string', format: 'date' } } }, /schema\.properties\.when\.format/],
  [{ type: 'number', multipleOf: 5 }, /schema\.multipleOf: 5/],
  [{ type: 'array', items: {}, uniqueItems: true }, /schema\.uniqueItems: true/],
  [{ type: 'string', minLenght: 3 }, /did you mean "minLength"/],
  [{ type: 'string', minimum: 3 }, /schema\.minimum/],
  [{ oneOf: [{}] }, /unsupported keyword schema\.oneOf/],
  [{ anyOf: [{ type: 'null' }, { not: {} }] }, /schema\.anyOf\.1/],
  [{ anyOf: [{}], type: 'object' }, /unsupported keyword schema\.type/],
  [{ properties: {} }, /schema\.type/],
  [{ type: 'text' }, /invalid schema\.type: "text" \(expected object, array, .* or null, or a list of them\)/],
  [{ type: [] }, /invalid schema\.type: \[\]/],
  [{ type: 'object', properties: { a: false } }, /invalid schema\.properties\.a: false/],
  [
    { type: 'object', properties: { a: {} }, additionalProperties: true },
    /schema\.additionalProperties: true \(expected false/,
  ],
  [{ type: 'object', properties: { a: {} }, required: ['b'] }, /schema\.required: "b"/],
  [{ type: 'array', minItems: 3, maxItems: 2 }, /schema\.maxItems: 2 \(expected at least minItems, which is 3\)/],
  [{ type: 'string', maxLength: -1 }, /schema\.maxLength: -1 \(expected a whole number/],
  [{ type: 'integer', minimum: 5.2, maximum: 5.8 }, /no integer of at most 16 digits is within its bounds/],
  [{ type: 'number', minimum: '1' }, /schema\.minimum: "1"/],
  [{ enum: [] }, /schema\.enum/],
  [{ enum: ['a'], type: 'integer' }, /schema\.enum/],
  [{ $ref: 'https://example.com/a.json' }, /schema\.\$ref: "https:.*expected a place in the schema/],
  [{ $ref: '#/$defs/none' }, /expected a place that the schema has/],
  [{ $ref: '#' }, /no value of it ends/],
  [tree, /invalid schema.*: no value of it ends/],
  [3, /invalid schema: 3/],
  [null, /invalid schema: null/],
  [{ enum: Array.from({ length: 5000 }, (_, i) => i) }, /more than 4,096 schemas and constants/],
]

test.each(refused.map(([schema, message]) => ({ schema, message })))(
  'a schema is refused: $message',
  ({ schema, message }) => {
    expect(() => grammarOf(schema, 'schema')).toThrow(message)
  },
)
