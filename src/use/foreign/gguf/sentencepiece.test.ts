/**
 * SentencePiece in the metadata of a GGUF file. The expected ids come from a second tokenizer, which follows the
 * definition; `test/interchange/llama-cpp.test.ts` compares the same texts with llama.cpp.
 */
import { describe, expect, test } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import { tokenizerFromJson } from '../../../node/data/tokenizer/native-tokenizer.ts'
import { idsByDefinition, randomText, sentencePieceMetadata, smallVocabulary } from '../testing/sentencepiece.ts'
import type { GgufValue } from './header.ts'
import { Metadata } from './metadata.ts'
import { mergesOf } from './sentencepiece.ts'
import { ggufTokenizerOf } from './tokenizer.ts'

const vocabulary = smallVocabulary()
const { tokens, scores, types } = vocabulary
const plain = Object.entries(sentencePieceMetadata(vocabulary)).map(([key, { value }]) => [key, value] as const)

type Changes = Readonly<Record<string, GgufValue | null>>

/** The tokenizer of the vocabulary with other metadata; null removes a key. */
function tokenizerWith(changes: Changes = {}) {
  const all = new Map<string, GgufValue>(plain)
  for (const [key, value] of Object.entries(changes))
    if (value === null) all.delete(`tokenizer.ggml.${key}`)
    else all.set(`tokenizer.ggml.${key}`, value)
  const { json, rules } = ggufTokenizerOf('m.gguf', new Metadata('m.gguf', all), 100_000)
  return tokenizerFromJson(json, 'm.gguf', rules)
}

const seed = Number(process.env.CHOIR_TEST_SEED ?? 1)
const random = randomFor(seed, 'texts')
const texts = [
  '',
  ' ',
  ' a ',
  'the cat',
  ...[2, 3, 5, 7, 16, 17, 77].map((length) => ' '.repeat(length)),
  ...[2, 3, 7, 50].map((length) => 'a'.repeat(length)),
  'haha hahaha',
  'naïve 😀 한국',
  ...Array.from({ length: 500 }, () => randomText(() => random.uniform())),
]

describe.each([true, false])('with add_space_prefix %s', (prefixed) => {
  const tokenizer = tokenizerWith({ add_space_prefix: prefixed })

  test('a text has the tokens of the definition: the highest score first, and bytes for other characters', async () => {
    for (const text of texts)
      expect([...(await tokenizer.encode(text))], `${JSON.stringify(text)}, seed ${seed}`).toEqual(
        idsByDefinition(vocabulary, text, prefixed),
      )
  })

  test('the tokens of a text are decoded to it, at once and one by one', async () => {
    for (const text of texts) {
      const ids = await tokenizer.encode(text)
      // ▁ is a space.
      const expected = text.replaceAll('▁', ' ')
      expect(tokenizer.decode(ids)).toBe(expected)
      const stream = tokenizer.stream()
      expect([...ids].map((id) => stream.push(id)).join('') + stream.end()).toBe(expected)
    }
  })
})

test('tokens of the file stand for themselves, wherever their ids are, and text after them begins with a space', async () => {
  const tokenizer = tokenizerWith()
  const user = tokens.indexOf('<|user|>')
  expect([...(await tokenizer.encode('<s>the<|user|>the</s>'))]).toEqual([
    1,
    ...idsByDefinition(vocabulary, 'the'),
    user,
    ...idsByDefinition(vocabulary, 'the'),
    2,
  ])
  expect([...(await tokenizer.encode('<unk>'))]).toEqual([0])
})

test('a token that is not used is in no text', async () => {
  const id = tokens.indexOf('▁the')
  const tokenizer = tokenizerWith({ token_type: types.map((type, i) => (i === id ? 5 : type)) })
  expect(tokenizer.tokenOf(id)).toBeUndefined()
  expect(await tokenizer.encode('the cat')).not.toContain(id)
})

test('a text begins with token 1 and ends at token 2, unless the file says otherwise', () => {
  expect(tokenizerWith().rules).toMatchObject({ begin: 1, end: [2] })
  expect(tokenizerWith({ add_bos_token: false, eos_token_id: 2, eot_token_id: 1 }).rules).toMatchObject({
    begin: null,
    end: [2, 1],
  })
  expect(tokenizerWith({ bos_token_id: 2 }).rules).toMatchObject({
    begin: 2,
    specialTokens: { bos_token: '</s>', eos_token: '</s>', unk_token: '<unk>' },
  })
})

const withTokens = (more: readonly string[]): Changes => ({
  tokens: [...tokens, ...more],
  scores: [...scores, ...more.map((_, i) => -1000 - i)],
  token_type: [...types, ...more.map(() => 1)],
})
test.each<[string, () => Changes, RegExp]>([
  ['no scores', () => ({ scores: null }), /m\.gguf lacks tokenizer\.ggml\.scores in its metadata \(expected a list of/],
  ['too few scores', () => ({ scores: [0, 0] }), /tokenizer\.ggml\.scores has 2 numbers for 507 tokens/],
  [
    'a score that is no number',
    () => ({ scores: scores.map((score, i) => (i === 300 ? Number.NaN : score)) }),
    /invalid tokenizer\.ggml\.scores: the score of token 300, ".+", is NaN \(expected a finite number\)/,
  ],
  [
    'scores without an order',
    () => ({ scores: scores.map(() => -1000) }),
    /unsupported tokenizer\.ggml\.scores: all tokens have the score -1000, which gives no order/,
  ],
  ['too few kinds of tokens', () => ({ token_type: [1] }), /tokenizer\.ggml\.token_type has 1 numbers for 507 tokens/],
  [
    'missing tokens of bytes',
    () => ({ tokens: tokens.map((token, i) => (i === 3 + 0x41 || i === 3 + 0xff ? `other ${i}` : token)) }),
    /lacks 2 of the 256 tokens of bytes, <0x41> first/,
  ],
  [
    'an end token that is no id',
    () => ({ eos_token_id: 507 }),
    /invalid tokenizer\.ggml\.eos_token_id: 507 \(expected an/,
  ],
  [
    'a token that is too long',
    () => withTokens(['z'.repeat(129)]),
    /has a token of 129 characters \(expected at most 128\)/,
  ],
  ['another model', () => ({ model: 't5' }), /unsupported tokenizer\.ggml\.model: "t5" \(supported: "gpt2", .*"llama"/],
])('a file with %s is refused with the key', (_, changes, message) => {
  expect(() => tokenizerWith(changes())).toThrow(message)
})

test('merges are in the order of scores, the longer left side first, and their number has a limit', () => {
  const scores = new Map([...['aaa', 'aa', 'aab', 'a', 'b', 'ab'].entries()].map(([i, token]) => [token, -i]))
  const expected = [
    ['aa', 'a'],
    ['a', 'aa'],
    ['a', 'a'],
    ['aa', 'b'],
    ['a', 'ab'],
    ['a', 'b'],
  ]
  expect(mergesOf('m.gguf', scores)).toEqual(expected)
  expect(mergesOf('m.gguf', scores, 6)).toEqual(expected)
  expect(() => mergesOf('m.gguf', scores, 5)).toThrow(
    'm.gguf: tokenizer.ggml.tokens can be cut into two tokens in more than 5 ways',
  )
})
