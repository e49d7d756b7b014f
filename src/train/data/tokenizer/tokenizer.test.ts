import { createRequire } from 'node:module'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { UsageError } from '../../../core/errors.ts'
import { tokenizerFromJson } from '../../../node/data/tokenizer/native-tokenizer.ts'
import { bytesTokenizer, type Tokenizer } from './tokenizer.ts'
import { byteLevelJson } from './tokenizer-json.ts'

const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme', maxLength: 100 }))
const merges: [string, string][] = [
  ['Ġ', 't'],
  ['h', 'e'],
  ['Ġt', 'he'],
  ['Ã', '©'],
  ['ð', 'Ł'],
  ['Ġ', 'Ġ'],
]
const byteLevel: [string, Tokenizer][] = [
  ['bytes', bytesTokenizer()],
  ['bpe', tokenizerFromJson(byteLevelJson(merges))],
]

/** A vocabulary as SentencePiece makes it: pieces with "▁" for a space, and byte tokens as a fallback. */
const pieces = [
  '<unk>',
  '</s>',
  '▁',
  '▁the',
  '▁cat',
  's',
  'é',
  ...Array.from({ length: 256 }, (_, b) => `<0x${hex(b)}>`),
]
const unigram = JSON.stringify({
  version: '1.0',
  added_tokens: [
    { id: 1, content: '</s>', single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  ],
  normalizer: null,
  pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
  post_processor: null,
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'ByteFallback' },
      { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    ],
  },
  model: {
    type: 'Unigram',
    unk_id: 0,
    byte_fallback: true,
    vocab: pieces.map((piece, i) => [piece, i < 7 ? -1 : -10]),
  },
})

function hex(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, '0')
}

function streamed(tokenizer: Tokenizer, ids: Iterable<number>): string[] {
  const stream = tokenizer.stream()
  return [...Array.from(ids, (id) => stream.push(id)), stream.end()]
}

for (const [name, tokenizer] of byteLevel) {
  test(`${name}: decode(encode(x)) is x for any text`, async () => {
    await fc.assert(
      fc.asyncProperty(anyText, async (text) => {
        expect(tokenizer.decode(await tokenizer.encode(text))).toBe(text)
      }),
    )
  })

  test(`${name}: the bytes of the tokens add up to the UTF-8 length`, async () => {
    await fc.assert(
      fc.asyncProperty(anyText, async (text) => {
        const ids = await tokenizer.encode(text)
        const bytes = ids.reduce((sum, id) => sum + (tokenizer.bytesOf[id] ?? Number.NaN), 0)
        expect(bytes).toBe(Buffer.byteLength(text))
      }),
    )
  })

  test(`${name}: streaming any ids gives the same text as decode, and never half a character`, async () => {
    const anyIds = fc.array(fc.nat(tokenizer.vocabulary - 1))
    fc.assert(
      fc.property(anyIds, (ids) => {
        expect(streamed(tokenizer, ids).join('')).toBe(tokenizer.decode(ids))
      }),
    )
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => {
        const parts = streamed(tokenizer, await tokenizer.encode(text))
        fc.pre(!text.includes('\ufffd'))
        for (const part of parts) expect(Buffer.from(part).toString()).not.toMatch(/\ufffd/)
      }),
    )
  })
}

test('a token is shown with its space, escaped control characters, and partial characters as bytes', () => {
  const bytes = bytesTokenizer()
  expect([0x61, 0x20, 0x0a, 0x7f, 0xe2].map((id) => bytes.show(id))).toEqual(['a', ' ', '\\n', '\\u007f', '<0xE2>'])
  const bpe = tokenizerFromJson(byteLevelJson([...merges, ['Ġ', 'â']]))
  const shown = Array.from({ length: bpe.vocabulary }, (_, id) => bpe.show(id))
  for (const text of [' the', 'é', '<0xF0><0x9F>', ' <0xE2>']) expect(shown).toContain(text)
  const library = tokenizerFromJson(unigram)
  expect(['</s>', '▁the', 's'].map((piece) => library.show(pieces.indexOf(piece)))).toEqual(['</s>', ' the', 's'])
  expect(library.show(pieces.indexOf('<0xE2>'))).toBe('<0xE2>')
  expect(library.show(library.vocabulary)).toBe('')
})

test('bytes: ids are byte values, 256 is the end of text', async () => {
  const bytes = bytesTokenizer()
  expect([bytes.vocabulary, bytes.endOfText, bytes.bytesOf[256], bytes.bytesOf[0]]).toEqual([257, 256, 0, 1])
  expect([...(await bytes.encode('é\n'))]).toEqual([0xc3, 0xa9, 0x0a])
  expect([...(await bytes.encode('a<|endoftext|>b'))]).toEqual([0x61, 256, 0x62])
  expect(bytes.decode([0x61, 256, 0x62, 999, -1])).toBe('a<|endoftext|>b')
})

test('bpe: the end of text is the last id, and ids match merges applied by hand', async () => {
  const bpe = tokenizerFromJson(byteLevelJson(merges))
  expect([bpe.vocabulary, bpe.endOfText]).toEqual([263, 262])
  expect([...(await bpe.encode('he the'))]).toEqual([257, 258])
  expect([...bpe.bytesOf.subarray(256)]).toEqual([2, 2, 4, 2, 2, 2, 0])
})

test('the library reads the same vocabulary from the tokenizer.json', () => {
  const { Tokenizer } = createRequire(import.meta.url)('tokenizers') as typeof import('tokenizers')
  for (const [, tokenizer] of byteLevel) {
    const library = Tokenizer.fromString(tokenizer.json)
    expect(library.getVocabSize(true)).toBe(tokenizer.vocabulary)
    expect(library.tokenToId('<|endoftext|>')).toBe(tokenizer.endOfText)
    expect(tokenizerFromJson(tokenizer.json).bytesOf).toEqual(tokenizer.bytesOf)
  }
})

test('a tokenizer of another form uses the library: single texts, batches and streams', async () => {
  const tokenizer = tokenizerFromJson(unigram)
  const text = 'the cats thé 😀 the'
  const ids = await tokenizer.encode(text)
  expect(ids).toEqual((await tokenizer.encodeBatch([text]))[0])
  expect([...ids.subarray(0, 3)]).toEqual([3, 4, 5])
  expect(tokenizer.decode(ids)).toBe(text)
  const parts = streamed(tokenizer, ids)
  expect(parts.join('')).toBe(text)
  expect(parts).toContain('😀')
  expect(tokenizer.endOfText).toBe(1)
  const bytesOf = (piece: string) => tokenizer.bytesOf[pieces.indexOf(piece)]
  expect(['▁the', 's', 'é', '<0xF0>', '</s>'].map(bytesOf)).toEqual([4, 1, 2, 1, 0])
})

test('a file that is not a tokenizer.json, or has no document separator, is refused by name', () => {
  const refused = (json: string, message: RegExp) => {
    expect(() => tokenizerFromJson(json, 'my.json')).toThrow(UsageError)
    expect(() => tokenizerFromJson(json, 'my.json')).toThrow(message)
  }
  refused('hello', /my\.json: it is not JSON/)
  refused(
    byteLevelJson(merges).replace('"Ġt","he"', '"Ġt","zz"'),
    /my\.json: merge 2 \(Ġt zz\) is not in its vocabulary/,
  )
  refused(byteLevelJson([]).replace('"A":65', '"A":"x"'), /my\.json .* the id of "A" is "x"/)
  refused('{"a": 1}', /my\.json is not a Hugging Face tokenizer\.json: model/)
  refused(
    byteLevelJson([]).replaceAll('<|endoftext|>', '<|stop|>'),
    /my\.json has no token that ends a document.*<\/s>/,
  )
  refused(unigram.replace('"Unigram"', '"Bigram"'), /my\.json is not a Hugging Face tokenizer\.json/)
  // The library would end the process at such a file.
  const { model, ...rest } = JSON.parse(byteLevelJson(merges))
  for (const of of [model.merges, model.merges.map((pair: string[]) => pair.join(' '))])
    refused(
      JSON.stringify({ ...rest, model: { ...model, merges: of, continuing_subword_prefix: '../../..' } }),
      /my\.json .*: in model\.merges, ".+" does not begin with model\.continuing_subword_prefix, ".*"/,
    )
})

test('a text begins with the token that tokenizer.json puts there, else with the separator of documents', () => {
  const withProcessor = (post_processor: object | null) =>
    tokenizerFromJson(JSON.stringify({ ...JSON.parse(byteLevelJson(merges)), post_processor }))
  const template = {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [],
    special_tokens: { '<s>': { id: '<s>', ids: [7], tokens: ['<s>'] } },
  }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true }
  expect(withProcessor(template).rules.begin).toBe(7)
  expect(withProcessor({ type: 'Sequence', processors: [byteLevel, template] }).rules.begin).toBe(7)
  for (const processor of [null, byteLevel, { ...template, single: template.single.slice(1) }]) {
    const tokenizer = withProcessor(processor)
    expect(tokenizer.rules).toMatchObject({ begin: tokenizer.endOfText, end: [tokenizer.endOfText] })
  }
})
