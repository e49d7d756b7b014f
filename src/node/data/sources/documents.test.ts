import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { UsageError } from '../../../core/errors.ts'
import { PIECE_LENGTH, type Piece } from '../../../train/data/sources/piece.ts'
import type { Format } from '../../../train/data/sources/source-file.ts'
import { temporaryFolder } from '../testing/temporary-folder.ts'
import { readDocuments } from './documents.ts'
import type { InputFile } from './input-file.ts'

const folder = temporaryFolder().make()
let files = 0

function file(content: string | Uint8Array, format: Format, more: Partial<InputFile> = {}): InputFile {
  const path = join(folder, `file-${files++}`)
  writeFileSync(path, content)
  return { path, name: 'given', format, gzip: false, origin: 'named', ...more }
}

const fixture = (name: string): InputFile => ({
  path: join(import.meta.dirname, 'fixtures', name),
  name,
  format: 'parquet',
  gzip: false,
  origin: 'named',
})

async function piecesOf(input: InputFile, field = 'text'): Promise<Piece[]> {
  const pieces: Piece[] = []
  for await (const piece of readDocuments([input], field)) pieces.push(piece)
  return pieces
}

/** A pair [name, text] for each document. */
async function read(input: InputFile, field?: string): Promise<[string, string][]> {
  const documents: [string, string][] = []
  let text = ''
  for (const piece of await piecesOf(input, field)) {
    text += piece.text
    if (!piece.last) continue
    documents.push([piece.name, text])
    text = ''
  }
  expect(text).toBe('')
  return documents
}

async function refused(input: InputFile, message: RegExp, field?: string): Promise<void> {
  const error = await piecesOf(input, field).catch((error: Error) => error)
  expect(error).toBeInstanceOf(UsageError)
  expect((error as Error).message).toMatch(message)
}

test('a text file, gzipped or not, is one document without its byte order mark', async () => {
  const text = 'Grüße\n\n你好 😀\r\n'
  expect(await read(file(text, 'text'))).toEqual([['given', text]])
  expect(await read(file(gzipSync(text), 'text', { gzip: true }))).toEqual([['given', text]])
  expect(await read(file(`\ufeff${text}`, 'text'))).toEqual([['given', text]])
})

test('a long text is read completely in bounded pieces, with the same cuts from a file and from JSON', async () => {
  const words = fc.array(fc.constantFrom('word ', '\n\n', '😀', 'naïve', '  ', 'x'.repeat(40_000)), {
    minLength: 5,
    maxLength: 12,
  })
  await fc.assert(
    fc.asyncProperty(words, async (parts) => {
      const text = parts.join('').repeat(2)
      const pieces = await piecesOf(file(text, 'text', { origin: 'found' }))
      expect(pieces.map((piece) => piece.text).join('')).toBe(text)
      for (const piece of pieces) expect(piece.text.length).toBeLessThanOrEqual(PIECE_LENGTH)
      expect(pieces.map((piece) => piece.last)).toEqual(pieces.map((_, i) => i === pieces.length - 1))
      const json = await piecesOf(file(JSON.stringify({ text }), 'json'))
      expect(json.map((piece) => piece.text)).toEqual(pieces.map((piece) => piece.text))
    }),
    { numRuns: 15 },
  )
})

test('JSONL gives one document per line: a field, a nested field or a string; empty and null texts are skipped', async () => {
  const lines = ['{"text":"one"}', '', '"two"', '{"text":""}', '{"text":null}', '{"text":"six\\nlines"}\r']
  expect(await read(file(lines.join('\n'), 'jsonl'))).toEqual([
    ['given:1', 'one'],
    ['given:3', 'two'],
    ['given:6', 'six\nlines'],
  ])
  const nested = '{"a":{"b":"in"}}\n{"a.b":"out"}\n'
  expect(await read(file(gzipSync(nested), 'jsonl', { gzip: true }), 'a.b')).toEqual([
    ['given:1', 'in'],
    ['given:2', 'out'],
  ])
})

test('JSONL lines longer than a chunk are read completely', async () => {
  const texts = [200_000, 1, 100_000].map((times, i) => `${i} é `.repeat(times))
  const lines = texts.map((text) => JSON.stringify({ text })).join('\n')
  expect((await read(file(lines, 'jsonl'))).map(([, text]) => text)).toEqual(texts)
})

test('JSON gives one document, or one per item of a list; other fields are kept on request', async () => {
  expect(await read(file('[{"text":"a"},"b"]', 'json'))).toEqual([
    ['given[0]', 'a'],
    ['given[1]', 'b'],
  ])
  const record = '{"year":1790,"party":"none","tags":["x"],"text":"a"}'
  const [piece] = await piecesOf(file(record, 'json', { metadata: true }))
  expect(piece?.metadata).toEqual({ year: 1790, party: 'none' })
  expect((await piecesOf(file(record, 'json')))[0]?.metadata).toBeUndefined()
})

test('Parquet gives one document per row, across row groups and codecs, nested columns included', async () => {
  expect(await read(fixture('flat.parquet'))).toEqual([
    ['flat.parquet:row 0', 'first row'],
    ['flat.parquet:row 1', 'second row'],
    ['flat.parquet:row 2', 'third row ✓'],
  ])
  expect((await read(fixture('nested.parquet'), 'body.text')).map(([, text]) => text)).toEqual([
    'Grüße, Welt',
    'zwei',
    'vier',
  ])
})

test('input that is not text is refused with the file and the offset', async () => {
  const at = async (bytes: Uint8Array, message: RegExp, more?: Partial<InputFile>) =>
    refused(file(bytes, 'text', more), message)
  await at(Buffer.from('abc\0def'), /given is not text: NUL byte at offset 3;/)
  await at(Buffer.concat([Buffer.from('né'), Buffer.of(0xff, 0x41)]), /byte 0xff is not UTF-8 at offset 3;/)
  await at(Buffer.concat([Buffer.from('é'), Buffer.of(0xef, 0x41)]), /byte 0xef is not UTF-8 at offset 2;/)
  await at(Buffer.concat([Buffer.alloc(600_000, 'é'), Buffer.of(0xc3)]), /byte 0xc3 is not UTF-8 at offset 600000;/)
  await at(gzipSync(Buffer.from('ab\xe9c', 'latin1')), /offset 2 of its decompressed content/, { gzip: true })
})

test('the reported offset is where a validator written from RFC 3629 stops', async () => {
  const bytes = fc.uint8Array({ maxLength: 12 }).map((noise) => Buffer.concat([Buffer.from('aé€😀\ufffd'), noise]))
  await fc.assert(
    fc.asyncProperty(bytes, async (content) => {
      const well =
        /^(?:[^\0\x80-\xff]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})*/
      const end = well.exec(content.toString('latin1'))?.[0].length ?? 0
      const error = await piecesOf(file(content, 'text')).catch((error: Error) => error)
      if (end === content.length) expect(error).not.toBeInstanceOf(Error)
      else expect(String(error)).toMatch(new RegExp(`at offset ${end};`))
    }),
    { numRuns: 300 },
  )
})

test('malformed records are refused with their place and what was found', async () => {
  await refused(file('{"text":"a"}\n{"text":\n', 'jsonl'), /given:2 is not JSON/)
  await refused(
    file('{"text":"a"}\n{"body":"b","meta":{"id":1}}', 'jsonl'),
    /"text" is not in given:2 \(fields: body, meta\.id\)/,
  )
  await refused(file('{"text":5}', 'jsonl'), /"text" of given:1 is a number; expected a string/)
  await refused(file('7', 'jsonl'), /given:1 is a number; expected an object with the field "text"/)
  await refused(file('[1', 'json'), /given is not JSON/)
  await refused(fixture('flat.parquet'), /"body" is not a column of flat\.parquet \(columns: text, id\)/, 'body')
  await refused(fixture('nested.parquet'), /columns: .*body\.text/, 'body')
  await refused(fixture('flat.parquet'), /column "id" of flat\.parquet is not text/, 'id')
  await refused(file('PAR1 no', 'parquet'), /given cannot be read as Parquet/)
})

test('empty, missing and damaged files are refused; an empty file found in a folder is skipped', async () => {
  await refused(file('', 'text'), /given is empty/)
  expect(await read(file('', 'text', { origin: 'found' }))).toEqual([])
  expect(await read(file('', 'json', { origin: 'found' }))).toEqual([])
  await refused({ ...file('', 'text'), path: join(folder, 'none') }, /cannot read given: ENOENT/)
  await refused(file(gzipSync('hello world').subarray(0, 15), 'text', { gzip: true }), /given is not a valid gzip file/)
  await refused(file('plain', 'text', { gzip: true }), /given is not a valid gzip file/)
})

test('reading can be aborted', async () => {
  const input = file('{"text":"a"}\n'.repeat(100), 'jsonl')
  const controller = new AbortController()
  const reading = (async () => {
    for await (const _ of readDocuments([input], 'text', controller.signal)) controller.abort()
  })()
  await expect(reading).rejects.toThrow(/abort/i)
})
