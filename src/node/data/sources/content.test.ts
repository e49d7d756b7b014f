/**
 * Nothing is kept from a file that is rewritten while it is read, neither under its old hash nor under another hash.
 *
 * @slow
 */
import { appendFileSync, copyFileSync, readdirSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { dataSchema } from '../../../core/config/data-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { bytesTokenizer, type Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import { openDataset } from '../open-dataset.ts'
import { temporaryFolder } from '../testing/temporary-folder.ts'
import { tokenizerFromJson } from '../tokenizer/native-tokenizer.ts'
import { hashFiles } from './content.ts'
import { readDocuments } from './documents.ts'
import type { InputFile } from './input-file.ts'

const temporary = temporaryFolder()
const reading = { field: 'text', encoding: 'utf-8' }
const changed = /data\.source: text\.jsonl changed while it was read, so nothing from it was kept; run again/

/** Documents of one word, 3.4 million characters in total: several times the amount that is read or encoded at once. */
const documentsOf = (word: string): string =>
  Array.from({ length: 340 }, (_, i) => JSON.stringify({ text: `${i} ${word.repeat(2000)}` })).join('\n')
const [first, second] = [documentsOf('whale'), documentsOf('ships')]

/**
 * Replaces the contents of a file and restores its modification time. The old bytes are overwritten where they are:
 * a file that is emptied first would look like its end to a read that another thread has begun.
 */
function rewrite(path: string, content: string | Uint8Array): void {
  const { atime, mtime } = statSync(path)
  writeFileSync(path, content, { flag: 'r+' })
  truncateSync(path, Buffer.byteLength(content))
  utimesSync(path, atime, mtime)
}

interface Opened {
  readonly error?: unknown
  readonly text: string
}

/** Opens the file at `path` with a cache; `meddle` is called at each progress message and for each encoded group. */
async function open(
  cache: string,
  path: string,
  kind: 'bpe' | 'bytes',
  meddle: (at: string, count: number) => void = () => {},
): Promise<Opened> {
  let groups = 0
  const bytes = tokenizerFromJson(bytesTokenizer().json)
  const tokenizer: Tokenizer = {
    ...bytes,
    encodeBatch(texts) {
      meddle('encode', ++groups)
      return bytes.encodeBatch(texts)
    },
  }
  try {
    const dataset = await openDataset(dataSchema.parse({ source: path, cache, heldOut: 0.1 }), {
      vocabulary: 300,
      ...(kind === 'bytes' && { tokenizer }),
      onProgress: (message) => meddle(message.replace(/ .*/, ''), 1),
    })
    const tokens = new Int32Array(2000)
    dataset.train.read(0, tokens)
    await dataset.close()
    return { text: dataset.tokenizer.decode(tokens) }
  } catch (error) {
    return { error, text: '' }
  }
}

const kept = (cache: string): string[] => readdirSync(cache).filter((name) => /^tokens-|^tokenizer-/.test(name))

const changes: Readonly<Record<string, (path: string) => void>> = {
  'same size, same time': (path) => rewrite(path, second),
  'another size, same time': (path) => rewrite(path, `${first}\n{"text":"one more"}`),
  'shorter, same time': (path) => rewrite(path, first.slice(0, first.lastIndexOf('\n'))),
  'the last byte alone': (path) => rewrite(path, `${first.slice(0, -4)}x${first.slice(-3)}`),
  appended: (path) => appendFileSync(path, '\n{"text":"one more"}'),
  'cut off': (path) => truncateSync(path, first.length - 100),
}

const moments = [
  ['in the middle of writing tokens', 'bytes', 'encode'],
  ['before the split is chosen', 'bytes', 'reading'],
  ['before the tokenizer is trained', 'bpe', 'training'],
] as const

for (const [name, change] of Object.entries(changes))
  for (const [when, kind, at] of name === 'same size, same time' ? moments : moments.slice(0, 1))
    test(`a file that changes ${when} (${name}) is refused, and the cache stays empty`, async () => {
      const [cache, path] = [temporary.make(), join(temporary.make(), 'text.jsonl')]
      writeFileSync(path, first)
      let done = false
      const { error } = await open(cache, path, kind, (event) => {
        if (event === at && !done) change(path)
        if (event === at) done = true
      })
      expect(done).toBe(true)
      expect(error).toBeInstanceOf(UsageError)
      expect((error as Error).message).toMatch(changed)
      expect(kept(cache)).toEqual([])
      // The old text gives its own tokens, not the tokens of the new text.
      if (name !== 'same size, same time') return
      rewrite(path, first)
      expect((await open(cache, path, 'bytes')).text).toMatch(/whalewhale/)
    })

test('a file that is changed and changed back while tokens are written is refused: the bytes read count', async () => {
  const [cache, path] = [temporary.make(), join(temporary.make(), 'text.jsonl')]
  writeFileSync(path, first)
  let encoded = 0
  const { error } = await open(cache, path, 'bytes', (event, count) => {
    if (event !== 'encode') return
    encoded = count
    if (count === 1) rewrite(path, second)
    if (count === 3) rewrite(path, first)
  })
  expect(encoded).toBeGreaterThanOrEqual(3)
  expect((error as Error).message).toMatch(changed)
  expect(kept(cache)).toEqual([])
})

test('a file that does not change, or changes only after it was read, is kept', async () => {
  const [cache, path] = [temporary.make(), join(temporary.make(), 'text.jsonl')]
  writeFileSync(path, first)
  expect((await open(cache, path, 'bytes')).text).toMatch(/whalewhale/)
  rewrite(path, second)
  expect((await open(cache, path, 'bytes')).text).toMatch(/shipsships/)
  expect(kept(cache)).toHaveLength(2)
})

test('text, gzip, JSON and Parquet: a reading after a change fails, a reading before it does not', async () => {
  const folder = temporary.make()
  const fixture = (name: string) => join(import.meta.dirname, 'fixtures', name)
  const parquet = join(folder, 'parquet')
  copyFileSync(fixture('flat.parquet'), parquet)
  const text = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  const input = (path: string, format: InputFile['format'], gzip = false): InputFile => ({
    path,
    name: 'given',
    format,
    gzip,
    origin: 'named',
  })
  const zipped = gzipSync('some text '.repeat(1e5), { level: 0 })
  const cases: [InputFile, Uint8Array][] = [
    [input(text('text', 'some text'), 'text'), Buffer.from('same text')],
    [input(text('json', '["some text"]'), 'json'), Buffer.from('["same text"]')],
    // Half a record is invalid JSON: the error reports the change, not the syntax.
    [input(text('jsonl', '{"text":"some text"}'), 'jsonl'), Buffer.from('{"text":"some te')],
    [input(text('gzip', zipped), 'text', true), gzipSync('same text '.repeat(1e5), { level: 0 })],
    // Bytes after a gzip member are not text, but they belong to the file.
    [input(text('more', Buffer.concat([zipped, Buffer.alloc(1e6)])), 'text', true), zipped],
    [input(parquet, 'parquet'), Buffer.concat([Buffer.from('PAR1'), Buffer.alloc(40)])],
  ]
  const readAll = async (files: readonly InputFile[]): Promise<number> => {
    let pieces = 0
    for await (const _ of readDocuments(files, 'text')) pieces++
    return pieces
  }
  for (const [file, other] of cases) {
    const { files } = await hashFiles({ files: [file], skipped: [] }, reading)
    expect(await readAll(files)).toBeGreaterThan(0)
    rewrite(file.path, other)
    await expect(readAll(files), file.path).rejects.toThrow(/data\.source: given changed while it was read/)
  }
})

test('a file that grows while it is hashed is refused', async () => {
  const path = join(temporary.make(), 'log.txt')
  writeFileSync(path, 'a'.repeat(3 << 20))
  const file: InputFile = { path, name: 'log.txt', format: 'text', gzip: false, origin: 'named' }
  const hashing = hashFiles({ files: [file], skipped: [] }, reading)
  // Its size has been read; its bytes will be read in a later turn of the event loop.
  appendFileSync(path, 'more')
  await expect(hashing).rejects.toThrow(/log\.txt changed while it was read/)
})
