/** @slow */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readDocuments } from '../../src/node/data/sources/documents.ts'
import { sourceFile } from '../../src/train/data/sources/source-file.ts'
import { fuzzTimeout, runs } from '../support/soak.ts'
import { faultOf, outcomeOf } from './outcome.ts'
import { damaged } from './values.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-fuzz-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Reads a file of data; returns its characters, or the message. */
async function read(name: string, contents: Uint8Array): Promise<number | string> {
  const path = join(folder, name)
  writeFileSync(path, contents)
  let characters = 0
  const outcome = await outcomeOf(async () => {
    for await (const { text } of readDocuments([{ path, ...sourceFile(name, 'named') }], 'text'))
      characters += text.length
  })
  expect(faultOf(outcome)).toBeNull()
  return outcome.code === 0 ? characters : outcome.stderr
}

const texts = Array.from({ length: 20 }, (_, i) => `text number ${i}`)
const lines = Buffer.from(texts.map((text) => `${JSON.stringify({ text, number: 1 })}\n`).join(''))
const parquet = (codec: 'UNCOMPRESSED' | 'SNAPPY') =>
  Buffer.from(parquetWriteBuffer({ columnData: [{ name: 'text', data: texts, type: 'STRING' }], codec }))

test.each<[string, Buffer]>([
  ['a.txt', Buffer.from(texts.join('\n'))],
  ['a.txt.gz', gzipSync(texts.join('\n'))],
  ['a.jsonl', lines],
  ['a.jsonl.gz', gzipSync(lines)],
  ['a.json', Buffer.from(JSON.stringify(texts))],
  ['a.parquet', parquet('UNCOMPRESSED')],
  ['b.parquet', parquet('SNAPPY')],
])(
  '%s, damaged in any way, is refused with a message, or read',
  async (name, contents) => {
    expect(await read(name, contents)).toEqual(expect.any(Number))
    await fc.assert(
      fc.asyncProperty(damaged(contents), async (bytes) => {
        await read(name, bytes)
      }),
      // Parquet files have fewer cases, since every reading of one starts a thread.
      runs(name.endsWith('.parquet') ? 60 : 150),
    )
  },
  fuzzTimeout,
)

const MEMBER = 10e6

/**
 * A gzip file that decompresses to `size` equal characters, and takes a thousandth of it. Such a file may have many
 * members, so one is compressed and then repeated.
 */
function repeated(size: number, character: string, before = '', after = ''): Buffer {
  const member = gzipSync(Buffer.alloc(MEMBER, character))
  const members = Array.from({ length: size / MEMBER }, () => member)
  return Buffer.concat([gzipSync(before), ...members, gzipSync(after)])
}

test(
  'a file that decompresses to more than its format may have is refused before it fills the memory',
  async () => {
    const size = 300e6
    const before = process.memoryUsage().rss
    expect(await read('bomb.json.gz', repeated(size, 'a', '["', '"]'))).toMatch(
      /bomb\.json\.gz has more than 268435456 characters/,
    )
    expect(await read('bomb.jsonl.gz', repeated(size, 'a', '"', '"\n'))).toMatch(
      /bomb\.jsonl\.gz:1 is longer than 268435456/,
    )
    expect(await read('long.txt.gz', repeated(size, 'a'))).toBe(size)
    expect(await read('zeros.txt.gz', repeated(size, '\0'))).toMatch(/not text: NUL byte at offset 0/)
    expect(process.memoryUsage().rss - before).toBeLessThan(4 * size)
    expect(readFileSync(join(folder, 'long.txt.gz')).length).toBeLessThan(size / 900)
  },
  fuzzTimeout,
)
