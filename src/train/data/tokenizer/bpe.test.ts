import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { nativeTokenizer } from '../../../node/data/tokenizer/native-tokenizer.ts'
import { huggingFaceMerges } from '../../../node/data/tokenizer/testing/hugging-face-merges.ts'
import { byteLevelEncoder, type Encode } from './bpe.ts'
import { trainBpe } from './bpe-training.ts'
import { byteCharacters, bytesOfToken } from './bytelevel.ts'
import { learnMerges } from './merges.ts'
import { byteLevelTokenizer, type NativeTokenizer } from './tokenizer.ts'
import { byteLevelJson, parseTokenizerJson, tokensOf } from './tokenizer-json.ts'

const words =
  "We the People, in order to form a more perfect Union; it's 1787 and they'll establish Justice. Grüße aus Köln — naïve café! 你好世界 "
/** Text full of characters on which JavaScript's `\s` and Unicode's White_Space disagree, so that merges span them. */
const spaces = 'a \ufeff! \ufeff! x\u0085\u0085\u0085y\u00a0\u00a0\u00a0z'
const corpus = [
  words.repeat(3),
  `the  cat\n\n  sat\ton the mat; the hat's flat.\r\n${words}`,
  'aaaaaaa aaaa abab ababab',
  spaces.repeat(9),
]

async function train(texts: readonly string[], vocabulary: number, warn: (message: string) => void = () => {}) {
  return trainBpe({
    pieces: (async function* () {
      for (const text of texts) yield { text, last: true, name: 'test', metadata: undefined }
    })(),
    characters: texts.join('').length,
    seed: 0,
    vocabulary,
    warn,
  })
}

let ours: Encode
let native: NativeTokenizer
let json: string
beforeAll(async () => {
  json = await train(corpus, 450)
  ours = byteLevelEncoder(parseTokenizerJson(json, 'test'), 'test') as Encode
  native = nativeTokenizer(json, 'test')
})

const anyText = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 200 }),
  fc.string({ unit: 'binary-ascii', maxLength: 200 }),
  fc.string({ unit: fc.constantFrom(...words, "'", 's', 'é', '😀'), maxLength: 300 }),
  fc.string({ unit: fc.constantFrom(...new Set(spaces), '\n', "'s"), maxLength: 60 }),
  fc
    .array(fc.constantFrom('<|endoftext|>', '<|end', ' the', 'aaaa', '  ', '\n\n', '|>'))
    .map((parts) => parts.join('')),
)

test('the encoder gives the same ids as the Hugging Face library', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyText, { minLength: 1, maxLength: 20 }), async (texts) => {
      const expected = await native.encodeBatch(texts)
      expect(texts.map((text) => ours(text))).toEqual(expected)
    }),
    { numRuns: 60 },
  )
})

test('a text of one very long word is encoded quickly, to the same ids as by the library', async () => {
  const long = 'ababaab'.repeat(20_000)
  const began = performance.now()
  const ids = ours(long)
  expect(performance.now() - began).toBeLessThan(2000)
  expect(ids).toEqual((await native.encodeBatch([long]))[0])
})

test('unsupported forms of tokenizers are left to the library', () => {
  const change = (edit: (file: Record<string, Record<string, unknown>>) => void) => {
    const file = JSON.parse(json)
    edit(file)
    return byteLevelEncoder(parseTokenizerJson(JSON.stringify(file), 'test'), 'test')
  }
  expect(change(() => {})).toBeDefined()
  expect(change((file) => Object.assign(file, { normalizer: { type: 'NFC' } }))).toBeUndefined()
  expect(change((file) => Object.assign(file.pre_tokenizer ?? {}, { add_prefix_space: true }))).toBeUndefined()
  expect(change((file) => Object.assign(file.model ?? {}, { ignore_merges: true }))).toBeUndefined()
  expect(change((file) => Object.assign(file.model ?? {}, { vocab: { a: 0 }, merges: [] }))).toBeUndefined()
})

test('the byte alphabet has one printable character per byte, and can be read back', () => {
  expect(new Set(byteCharacters).size).toBe(256)
  expect(byteCharacters[0x20]).toBe('Ġ')
  expect(byteCharacters[0x0a]).toBe('Ċ')
  expect(byteCharacters[0x41]).toBe('A')
  expect([...bytesOfToken(byteCharacters.join(''))]).toEqual(Array.from({ length: 256 }, (_, i) => i))
})

/** BPE training as described by Sennrich et al. (2016), word by word; ties go to the lower ids. */
function naiveMerges(text: string, count: number): [string, string][] {
  const counts = new Map<string, number>()
  for (const line of text.split(/(?<=\n)/))
    for (const [word] of line.matchAll(/ ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu))
      counts.set(word, (counts.get(word) ?? 0) + 1)
  const symbols = [...counts].map(([word, n]) => ({
    parts: [...Buffer.from(word)].map((byte) => byteCharacters[byte] as string),
    n,
  }))
  const ids = new Map([...new Set(symbols.flatMap(({ parts }) => parts))].sort().map((part, id) => [part, id]))
  const merges: [string, string][] = []
  while (merges.length < count) {
    const pairs = new Map<string, { pair: [string, string]; n: number }>()
    for (const { parts, n } of symbols)
      for (let i = 0; i + 1 < parts.length; i++) {
        const pair: [string, string] = [parts[i] as string, parts[i + 1] as string]
        const known = pairs.get(pair.join(' ')) ?? { pair, n: 0 }
        known.n += n
        pairs.set(pair.join(' '), known)
      }
    const id = (token: string) => ids.get(token) ?? -1
    const [best] = [...pairs.values()].sort(
      (a, b) => b.n - a.n || id(a.pair[0]) - id(b.pair[0]) || id(a.pair[1]) - id(b.pair[1]),
    )
    if (!best) break
    const [left, right] = best.pair
    merges.push(best.pair)
    if (!ids.has(left + right)) ids.set(left + right, ids.size)
    for (const word of symbols)
      for (let i = 0; i + 1 < word.parts.length; i++)
        if (word.parts[i] === left && word.parts[i + 1] === right) word.parts.splice(i, 2, left + right)
  }
  return merges
}

test('a vocabulary of V has the merges of a trainer written from the definition', async () => {
  const text = 'low lower lowest new newer newest wide wider widest aaaa aaaaa aa\nbanana bandana ban can canned cane\n'
  for (const merges of [1, 5, 20, 35]) {
    const { model } = parseTokenizerJson(await train([text], 257 + merges), 'test')
    expect(model.merges).toEqual(naiveMerges(text, merges))
    expect(Object.keys(model.vocab).length).toBe(256 + merges)
  }
})

test('words that every object of JavaScript has as names become tokens', async () => {
  const names = ['constructor', 'toString', 'valueOf', 'hasOwnProperty', '__proto__']
  const tokenizer = byteLevelTokenizer(await train([names.join('\n').concat('\n').repeat(9)], 1000))
  const { model } = parseTokenizerJson(tokenizer.json, 'test')
  for (const name of names.filter((name) => name !== '__proto__')) {
    const ids = await tokenizer.encode(name)
    expect([...ids], name).toEqual([Object.entries(model.vocab).find(([token]) => token === name)?.[1]])
    expect(tokenizer.decode(ids)).toBe(name)
  }
  // A given file may have any token.
  const pieces = ['__', 'proto', '__proto', '__proto__']
  const merged = byteLevelJson([
    ['_', '_'],
    ['p', 'r'],
    ['pr', 'o'],
    ['pro', 't'],
    ['prot', 'o'],
    ['__', 'proto'],
    ['__proto', '__'],
  ])
  const tokens = tokensOf(parseTokenizerJson(merged, 'test'), 'test')
  expect(pieces.map((piece) => tokens.get(piece))).toEqual([256, 260, 261, 262])
})

test('training is deterministic, and warns when the text supports fewer tokens', async () => {
  expect(await train(corpus, 450)).toBe(json)
  const warnings: string[] = []
  const small = parseTokenizerJson(await train(['ab ab'], 1000, (message) => warnings.push(message)), 'test')
  expect(small.model.merges).toEqual([
    ['a', 'b'],
    ['Ġ', 'ab'],
  ])
  expect(warnings).toEqual(['the text supports 259 tokens; 741 of model.vocabulary 1000 stay unused'])
  await expect(train(['ab'], 257)).rejects.toThrow('model.vocabulary: 257 is too small')
})

test('aborting stops the training', async () => {
  const controller = new AbortController()
  const training = trainBpe({
    pieces: (async function* () {
      for (let piece = 0; ; piece++) {
        if (piece === 3) controller.abort()
        yield { text: words, last: true, name: 'test', metadata: undefined }
      }
    })(),
    characters: 1,
    seed: 0,
    vocabulary: 400,
    signal: controller.signal,
    warn: () => {},
  })
  await expect(training).rejects.toThrow(/abort/i)
})

const anyWords = fc
  .array(
    fc.oneof(
      fc.constantFrom(' the', ' cat', 'banana', 'abab', '\n', '  ', '. ', "'s", ' Köln', '你好', '\u0085', '\r\n'),
      fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' '), maxLength: 12 }),
      fc.string({ unit: 'grapheme', maxLength: 6 }),
    ),
    { minLength: 20, maxLength: 300 },
  )
  .map((parts) => parts.join(''))

test('the merges equal the merges of the Hugging Face trainer', async () => {
  const texts = [corpus.join('\n'), 'a bc ab c abc '.repeat(20), ...fc.sample(anyWords, 40)]
  const theirs = await huggingFaceMerges(texts)
  for (const [i, text] of texts.entries()) {
    const { model } = parseTokenizerJson(await train([text], 20_000), 'test')
    expect(model.merges, JSON.stringify(text)).toEqual(theirs[i])
  }
}, 60_000)

test('added tokens are found wherever they are, the longest first, and very many of them in little time', () => {
  const file = JSON.parse(json)
  const idOf = (contents: readonly string[]) => contents.map((content, i) => ({ id: 1000 + i, content }))
  const encoderOf = (contents: readonly string[]) =>
    byteLevelEncoder(
      parseTokenizerJson(JSON.stringify({ ...file, added_tokens: idOf(contents) }), 'test'),
      'test',
    ) as Encode
  const piece = fc.constantFrom('<', '<a', 'a', '😀', ']', '^', '-', '\\', 'é', ' the')
  const text = fc.array(piece, { maxLength: 12 }).map((parts) => parts.join(''))
  const tokens = fc.uniqueArray(
    text.filter((content) => content !== ''),
    { minLength: 1, maxLength: 6 },
  )
  fc.assert(
    fc.property(tokens, text, (contents, given) => {
      const longest = [...contents].sort((a, b) => b.length - a.length)
      const expected: number[] = []
      let rest = ''
      const flush = () => {
        expected.push(...ours(rest))
        rest = ''
      }
      for (let at = 0; at < given.length; ) {
        const found = longest.find((content) => given.startsWith(content, at))
        if (found !== undefined) {
          flush()
          expected.push(1000 + contents.indexOf(found))
        } else rest += given[at]
        at += found?.length ?? 1
      }
      flush()
      expect([...encoderOf(contents)(given)]).toEqual(expected)
    }),
    { numRuns: 300 },
  )
  const many = encoderOf(Array.from({ length: 20_000 }, (_, i) => `a${'b'.repeat(i % 50)}${i}c`))
  const began = performance.now()
  many('abbbbbbb'.repeat(50_000))
  expect(performance.now() - began).toBeLessThan(5000)
})

test('learning the merges of very many words stops soon after a signal, also before the first merge', async () => {
  const many = new Map(Array.from({ length: 400_000 }, (_, i) => [`${i.toString(36)} ${(i * 7919).toString(36)}`, 1]))
  for (const after of [20, 300]) {
    const controller = new AbortController()
    const learning = learnMerges(many, 20_000, controller.signal).catch((error: Error) => error.name)
    let abortedAt = 0
    setTimeout(() => {
      abortedAt = performance.now()
      controller.abort()
    }, after)
    const began = performance.now()
    expect(await learning).toBe('AbortError')
    // A late timer would mean that learning blocked the thread.
    expect(abortedAt - began).toBeLessThan(after + 500)
    expect(performance.now() - abortedAt).toBeLessThan(500)
  }
})
