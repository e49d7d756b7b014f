import { readdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect, test, vi } from 'vitest'
import { dataSchema } from '../../core/config/data-config.ts'
import { UsageError } from '../../core/errors.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import type { TokenStream } from '../../train/data/streams/token-stream.ts'
import { bytesTokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import { type DatasetOptions, openDataset } from './open-dataset.ts'
import { temporaryFolder } from './testing/temporary-folder.ts'
import { tokenizerFromJson } from './tokenizer/native-tokenizer.ts'

const temporary = temporaryFolder()
const shared = temporary.make()

const texts = Array.from({ length: 30 }, (_, i) => `Document number ${i} speaks of ${'sea and ship '.repeat(i + 1)}.`)

function jsonl(records: readonly unknown[] = texts.map((text) => ({ text }))): string {
  const path = join(temporary.make(), 'data.jsonl')
  writeFileSync(path, records.map((record) => JSON.stringify(record)).join('\n'))
  return path
}

async function open(config: Record<string, unknown>, options: Partial<DatasetOptions> = {}) {
  const messages: string[] = []
  const dataset = await openDataset(dataSchema.parse({ cache: shared, ...config }), {
    vocabulary: 300,
    onProgress: (message) => messages.push(message),
    ...options,
  })
  return { dataset, messages }
}

function tokens(stream: TokenStream): number[] {
  const all = new Int32Array(stream.length)
  stream.read(0, all)
  return [...all]
}

/** The documents of a stream. End-of-text tokens separate them and are the first and last token of the stream. */
function documents({ tokenizer }: Dataset, stream: TokenStream): string[] {
  const ids = tokens(stream)
  expect([ids[0], ids.at(-1)]).toEqual([tokenizer.endOfText, tokenizer.endOfText])
  return tokenizer.decode(ids).split('<|endoftext|>').slice(1, -1)
}

for (const kind of ['bpe', 'bytes'])
  test(`${kind}: each document is whole in one of the two streams; held-out ones keep their order and are listed`, async () => {
    const { dataset } = await open({ source: jsonl(), heldOut: 0.2, tokenizer: { kind } })
    const train = documents(dataset, dataset.train)
    const heldOut = documents(dataset, dataset.heldOut)
    expect([train.length, heldOut.length]).toEqual([24, 6])
    expect([dataset.train.documents, dataset.heldOut.documents]).toEqual([24, 6])
    expect([...train, ...heldOut].sort()).toEqual([...texts].sort())
    expect(heldOut).toEqual(texts.filter((text) => heldOut.includes(text)))
    const known = []
    for await (const document of dataset.heldOutDocuments()) {
      const ids = new Int32Array(document.length)
      dataset.heldOut.read(document.start, ids)
      known.push(dataset.tokenizer.decode(ids))
      expect(texts[Number(document.name.split(':')[1]) - 1]).toBe(known.at(-1)?.replace('<|endoftext|>', ''))
    }
    expect(known).toEqual(heldOut.map((text) => `${text}<|endoftext|>`))
    await dataset.close()
  })

/** A clock that runs very fast, so that every part of the work takes seconds. */
function fastClock(): () => void {
  let now = 0
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => {
    now += 700
    return now
  })
  return () => clock.mockRestore()
}

test('every part of the work that takes seconds is reported, with what it has done', async () => {
  const letter = (i: number) => String.fromCharCode(97 + (i % 26))
  const words = Array.from({ length: 6000 }, (_, i) => letter(i) + letter(i >> 3) + letter(i >> 5) + letter(i * 7))
  const text = `${words.join(' ')}\n\n`.repeat(40)
  const cache = temporary.make()
  const config = { source: '-', cache }
  const restore = fastClock()
  try {
    const { dataset, messages } = await open(config, {
      vocabulary: 600,
      stdin: Readable.from([text.slice(0, 5e5), text.slice(5e5)]),
    })
    await dataset.close()
    const again = await open(config, { vocabulary: 600, stdin: Readable.from([text.slice(0, 5e5), text.slice(5e5)]) })
    await again.dataset.close()
    const parts = [
      /^reading standard input: 1\.2 million bytes, /,
      /^hashing -: 1\.2 million bytes, /,
      /^reading -: [\d.]+ million characters, /,
      /^cutting - into sections: [\d.]+ of 1\.2 million characters, /,
      /^training a tokenizer of 600 tokens: [\d.]+ of 1\.2 million characters, /,
      /^training a tokenizer of 600 tokens: \d+ of 343 merges$/,
      /^tokenizing: [\d.]+ of 1\.2 million characters, /,
      /^ordering the documents: [\d.]+ of [\d.]+ million tokens, /,
    ]
    const places = parts.map((part) => messages.findIndex((message) => part.test(message)))
    expect(places, messages.join('\n')).toEqual([...places].filter((place) => place >= 0).sort((a, b) => a - b))
    const merges = messages.flatMap((message) => /: (\d+) of 343 merges$/.exec(message)?.[1] ?? []).map(Number)
    expect(merges.length).toBeGreaterThan(3)
    expect(merges).toEqual([...merges].sort((a, b) => a - b))
    expect(merges.at(-1)).toBeGreaterThan(0)
    expect(merges.at(-1)).toBeLessThanOrEqual(343)
    expect(again.messages.join('\n')).toMatch(/^checking the cached tokens: [\d.]+ of [\d.]+ million bytes, /m)
    expect(again.messages.join('\n')).not.toMatch(/tokenizing|merges/)
  } finally {
    restore()
  }
})

test('the seed determines the order of training documents and which documents are held out', async () => {
  const source = jsonl()
  const at = async (seed: number, cache: string) => {
    const { dataset } = await open({ source, seed, cache, heldOut: 0.2 })
    const result = {
      train: documents(dataset, dataset.train),
      heldOut: documents(dataset, dataset.heldOut),
      hash: dataset.hash,
    }
    await dataset.close()
    return result
  }
  const first = await at(1, temporary.make())
  expect(await at(1, temporary.make())).toEqual(first)
  const second = await at(2, temporary.make())
  expect(second.heldOut).not.toEqual(first.heldOut)
  expect(second.hash).not.toBe(first.hash)
  expect(first.train).not.toEqual(texts.filter((text) => first.train.includes(text)))
})

test('a second opening reads the tokens from the cache; damage is repaired, and the hash stays', async () => {
  const source = jsonl()
  const cache = temporary.make()
  const first = await open({ source, cache })
  const expected = tokens(first.dataset.train)
  await first.dataset.close()
  expect(first.messages).toContain('training a tokenizer of 300 tokens')
  const second = await open({ source, cache })
  expect(second.messages).toEqual([])
  await second.dataset.close()
  const [entry] = readdirSync(cache).filter((name) => name.startsWith('tokens-'))
  truncateSync(join(cache, entry as string, 'train.bin'), 10)
  const third = await open({ source, cache })
  expect(third.messages.join()).toMatch(/damaged \(train\.bin has 10 bytes/)
  expect(tokens(third.dataset.train)).toEqual(expected)
  expect([second.dataset.hash, third.dataset.hash]).toEqual([first.dataset.hash, first.dataset.hash])
  await third.dataset.close()
  expect(readdirSync(cache).filter((name) => name.startsWith('.'))).toEqual([])
})

test('concurrent openings give the same data', async () => {
  const config = { source: jsonl(), cache: temporary.make() }
  const opened = await Promise.all([open(config), open(config), open(config)])
  const all = opened.map(({ dataset }) => tokens(dataset.train).join())
  expect(new Set(all).size).toBe(1)
  for (const { dataset } of opened) await dataset.close()
})

test('the hash depends on text, split and tokenizer', async () => {
  const hashes = []
  const source = jsonl()
  const other = jsonl([...texts.slice(1), 'changed'].map((text) => ({ text })))
  for (const config of [
    { source },
    { source: other },
    { source, heldOut: 0.3 },
    { source, tokenizer: { kind: 'bytes' } },
  ]) {
    const { dataset } = await open(config)
    hashes.push(dataset.hash)
    await dataset.close()
  }
  expect(new Set(hashes).size).toBe(4)
})

test('a given tokenizer is used unchanged and gives the same tokens as when it was trained', async () => {
  const source = jsonl()
  const first = await open({ source })
  const given = await open(
    { source, cache: temporary.make() },
    { tokenizer: tokenizerFromJson(first.dataset.tokenizer.json) },
  )
  expect(given.messages.join()).not.toMatch(/training/)
  expect(tokens(given.dataset.heldOut)).toEqual(tokens(first.dataset.heldOut))
  expect(given.dataset.hash).toBe(first.dataset.hash)
  await first.dataset.close()
  await given.dataset.close()
})

test('the tokenizer is trained on the training documents only', async () => {
  // Each document has a unique word: merges can only come from words of training documents.
  const own = texts.map((text, i) => `${text} ${String.fromCodePoint(0x410 + i).repeat(40)}`)
  const { dataset } = await open({ source: jsonl(own.map((text) => ({ text }))), heldOut: 0.2 }, { vocabulary: 600 })
  const perWord = async (text: string) => (await dataset.tokenizer.encode(text.slice(-40))).length
  for (const text of documents(dataset, dataset.train)) expect(await perWord(text)).toBeLessThan(40)
  for (const text of documents(dataset, dataset.heldOut)) expect(await perWord(text)).toBeGreaterThanOrEqual(40)
  await dataset.close()
})

test('a few texts are cut into sections, so that some can be held out', async () => {
  const path = join(temporary.make(), 'book.txt')
  const book = Array.from(
    { length: 200 },
    (_, i) => `Paragraph ${i} of the book.${' More of it.'.repeat(i % 7)}\n\n`,
  ).join('')
  writeFileSync(path, book)
  const { dataset } = await open({ source: path, heldOut: 0.1 })
  const train = documents(dataset, dataset.train)
  const heldOut = documents(dataset, dataset.heldOut)
  expect(train.length + heldOut.length).toBeGreaterThanOrEqual(15)
  expect(heldOut.length).toBe(Math.round(0.1 * (train.length + heldOut.length)))
  for (const section of [...train, ...heldOut]) {
    expect(book).toContain(section)
    expect(section.endsWith('\n\n')).toBe(true)
  }
  expect([...train, ...heldOut].join('').length).toBe(book.length)
  await dataset.close()
})

test('standard input is read', async () => {
  const { dataset } = await open(
    { source: '-' },
    { stdin: Readable.from(texts.map((text) => `${JSON.stringify({ text })}\n`)) },
  )
  expect(dataset.train.documents + dataset.heldOut.documents).toBe(30)
  await dataset.close()
})

test('sotu has 233 addresses; the held-out addresses have year, president and party', async () => {
  const { dataset } = await open({ source: 'sotu', tokenizer: { kind: 'bytes' } })
  expect([dataset.train.documents, dataset.heldOut.documents]).toEqual([221, 12])
  for await (const { metadata } of dataset.heldOutDocuments())
    expect(metadata).toEqual({ year: expect.any(Number), name: expect.any(String), party: expect.any(String) })
  await dataset.close()
})

test('unusable data is refused with a message that says what to do', async () => {
  const refused = async (config: Record<string, unknown>, options: Partial<DatasetOptions>, message: RegExp) => {
    const error = await open(config, options).catch((error: Error) => error)
    expect(error).toBeInstanceOf(UsageError)
    expect((error as Error).message).toMatch(message)
  }
  const file = join(temporary.make(), 'tokenizer.json')
  writeFileSync(file, bytesTokenizer().json)
  const source = jsonl()
  const tokenizer = { kind: 'file', path: file }
  await refused(
    { source, tokenizer },
    { vocabulary: 256 },
    /tokenizer\.json has 257 tokens but model\.vocabulary is 256; set/,
  )
  await refused({ source, tokenizer: { kind: 'bytes' } }, { vocabulary: 100 }, /"bytes" has 257 tokens but/)
  await refused(
    { source, tokenizer: { kind: 'file', path: '/none.json' } },
    {},
    /data\.tokenizer\.path: cannot read \/none\.json/,
  )
  await refused({ source }, { vocabulary: 257 }, /model\.vocabulary: 257 is too small/)
  await refused(
    { source, tokenizer: { kind: 'bytes' } },
    { sequence: 100_000 },
    /too little text: \d+ training tokens.*needs at least 100001/,
  )
  await refused({ source, tokenizer: { kind: 'bytes' } }, { sequence: 1000 }, /too little text: \d+ held-out tokens/)
  await refused({ source: jsonl(['short']) }, {}, /too short to hold out a part of it \(5 characters\)/)
  await refused({ source: jsonl(['', '']) }, {}, /it contains no text/)
  await refused({ source: jsonl(Array(30).fill('the same')) }, {}, /all 30 documents have the same text/)
})

test('opening can be aborted', async () => {
  const signal = AbortSignal.abort()
  await expect(open({ source: jsonl(), cache: temporary.make() }, { signal })).rejects.toThrow(/abort/i)
})

test('a single short document can be held out whole, which leaves no training text', async () => {
  const path = join(temporary.make(), 'short.txt')
  writeFileSync(path, 'hello')
  const { dataset: data } = await open({ source: path }, { tokenizer: bytesTokenizer(), holdOutAll: true })
  const tokens = new Int32Array(data.heldOut.length)
  data.heldOut.read(0, tokens)
  expect([...tokens]).toEqual([256, ...Buffer.from('hello'), 256])
  expect(data.train.documents).toBe(0)
})
