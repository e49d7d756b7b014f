/** Folders as people have them: some files are text, some in other encodings, some no text at all. */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { dataSchema } from '../../../core/config/data-config.ts'
import { parseInput } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { hashFiles } from '../../../node/data/sources/content.ts'
import { readDocuments } from '../../../node/data/sources/documents.ts'
import { resolveSources } from '../../../node/data/sources/files.ts'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { decodeText } from './decode.ts'

const temporary = temporaryFolder()
const scratch = temporary.make()

function folderOf(files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = temporary.make()
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
  return folder
}

/** The documents, the notices, and the hash of a source. */
async function read(source: string | string[], config: { field?: string; encoding?: string } = {}) {
  const reading = { field: 'text', encoding: 'utf-8', ...config }
  const { files, hash, notices } = await hashFiles(await resolveSources(source, { scratch }), reading)
  const texts: Record<string, string> = {}
  for await (const { name, text } of readDocuments(files, reading.field)) texts[name] = (texts[name] ?? '') + text
  return { texts, notices, hash }
}

const refused = async (source: string, message: RegExp, config = {}) => {
  const error = await read(source, config).catch((error: Error) => error)
  expect(error).toBeInstanceOf(UsageError)
  expect((error as Error).message).toMatch(message)
}

const png = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.alloc(20)])
const latin1 = (text: string) => Buffer.from(text, 'latin1')

test('any file of UTF-8 is one document, whatever its ending, without its byte order mark', async () => {
  const files = {
    LICENSE: 'MIT',
    'a.rst': 'Title\n=====',
    'b.ts': 'const é = 1',
    'c.html': '\ufeff<p>',
    'd.json5': '{}',
  }
  const { texts, notices } = await read(folderOf(files))
  expect(texts).toEqual({ ...files, 'c.html': '<p>' })
  expect(notices).toEqual([])
})

test('files that are not text are skipped, counted and named in one notice; the hash ignores them', async () => {
  const text = { 'a.txt': 'first', 'b.txt.gz': gzipSync('second') }
  const other = {
    'old.txt': latin1('déjà vu'),
    'utf16.txt': Buffer.from('\ufeffwide', 'utf16le'),
    'x/1.png': png,
    'x/2.png': png,
    'x/3.png': png,
    'x/4.png': png,
    'y.txt.gz': gzipSync('third').subarray(0, 15),
    'z.parquet': 'PAR1 no',
  }
  const { texts, notices, hash } = await read(folderOf({ ...text, ...other }))
  expect(texts).toEqual({ 'a.txt': 'first', 'b.txt.gz': 'second' })
  expect(notices).toEqual([
    expect.stringMatching(
      /^data\.source: 2 files are read, 8 skipped: 2 not UTF-8 \(old\.txt: byte 0xe9 at offset 1; utf16\.txt: utf-16le\), 4 binary \(x\/1\.png, x\/2\.png, x\/3\.png and 1 more\), 2 damaged \(y\.txt\.gz: gzip; z\.parquet: .*\)\. To read text in another encoding, set data\.encoding, such as latin1$/,
    ),
  ])
  expect(hash).toBe((await read(folderOf(text))).hash)
})

test('only files that are not UTF-8 are read in data.encoding; the hash depends on it', async () => {
  const source = folderOf({
    'a.txt': 'déjà vu, “UTF-8”',
    'b.txt': latin1('d\xe9j\xe0 vu, \x93quoted\x94'),
    'c.jsonl': latin1('{"text":"ascii"}\n{"text":"\xfcber"}'),
    'd.txt.gz': gzipSync(latin1('\xa3 5')),
    'e.png': png,
  })
  const { texts, notices, hash } = await read(source, { encoding: 'latin1' })
  const [a, b] = ['déjà vu, “UTF-8”', 'déjà vu, “quoted”']
  expect(texts).toEqual({ 'a.txt': a, 'b.txt': b, 'c.jsonl:1': 'ascii', 'c.jsonl:2': 'über', 'd.txt.gz': '£ 5' })
  expect(notices).toEqual(['data.source: 4 files are read, 1 skipped: 1 binary (e.png)'])
  expect((await read(source, { encoding: 'windows-1252' })).hash).toBe(hash)
  const others = await Promise.all(['utf-8', 'koi8-r'].map((encoding) => read(source, { encoding })))
  expect(new Set([hash, ...others.map((other) => other.hash)]).size).toBe(3)
})

test.each([
  ['utf-16le', Buffer.from('\ufeffwide — 海', 'utf16le'), 'wide — 海'],
  ['utf-16be', Buffer.from('wide — 海', 'utf16le').swap16(), 'wide — 海'],
  ['shift_jis', Buffer.of(0x8a, 0x43), '海'],
  ['gbk', Buffer.of(0xba, 0xa3), '海'],
  ['windows-1251', Buffer.of(0xec, 0xee, 0xf0, 0xe5), 'море'],
])('%s is decoded in a folder, as a named file, and byte by byte', async (encoding, bytes, text) => {
  const folder = folderOf({ 'a.txt': bytes, 'b.txt': 'é' })
  expect((await read(folder, { encoding })).texts).toEqual({ 'a.txt': text, 'b.txt': 'é' })
  expect((await read(join(folder, 'a.txt'), { encoding })).texts).toEqual({ 'a.txt': text })
  let whole = ''
  for await (const piece of decodeText(
    [...bytes].map((byte) => Uint8Array.of(byte)),
    { name: 'a', gzip: false, encoding },
  ))
    whole += piece
  expect(whole).toBe(text)
})

test('a named file that is not text is refused with the byte, the offset and what to do', async () => {
  const folder = folderOf({
    'old.txt': latin1('d\xe9j\xe0'),
    'logo.png': png,
    'wide.txt': Buffer.from('\ufeffab', 'utf16le'),
  })
  const at = (name: string) => join(folder, name)
  await refused(
    at('old.txt'),
    /^data\.source: old\.txt is not text: byte 0xe9 is not UTF-8 at offset 1; .*data\.encoding, such as latin1$/,
  )
  await refused(at('wide.txt'), /byte 0xff is not UTF-8 at offset 0; .*data\.encoding, such as utf-16le$/)
  await refused(at('logo.png'), /logo\.png is not text: .* expected UTF-8 text/)
  await refused(at('logo.png'), /it has NUL characters in windows-1252/, { encoding: 'latin1' })
  await refused(at('old.txt'), /old\.txt is not text: it is neither UTF-8 nor shift_jis/, { encoding: 'shift_jis' })
})

test('JSON without records is read as text in a folder of other files; the notice names its fields', async () => {
  const source = folderOf({
    'index.ts': 'export {}',
    'list.json': '["one", {"text": "two"}]',
    'package.json': '{"name":"x","version":"1"}',
    'tsconfig.json': '{ // strict\n}',
    'log.jsonl': '{"level":1}\n{"text":"no record before"}',
    'flat.parquet': 'PAR1',
  })
  const { texts, notices } = await read(source)
  expect(texts).toEqual({
    'index.ts': 'export {}',
    'list.json[0]': 'one',
    'list.json[1]': 'two',
    'package.json': '{"name":"x","version":"1"}',
    'tsconfig.json': '{ // strict\n}',
    'log.jsonl': '{"level":1}\n{"text":"no record before"}',
  })
  expect(notices[1]).toBe(
    'data.source: 3 JSON files are read as plain text, without records that have the field "text" ' +
      '(log.jsonl: fields: level; package.json: fields: name, version; tsconfig.json: not JSON). ' +
      'Set data.field if the text is in another field',
  )
  // A file that is named, or found among only such files, must have the field.
  await refused(join(source, 'package.json'), /^data\.field: "text" is not in package\.json \(fields: name, version\)/)
  await refused(
    folderOf({ 'a.jsonl': '{"body":"x"}', 'b.jsonl': '{"body":"y"}' }),
    /"text" is not in a\.jsonl:1 \(fields: body\)/,
  )
  // After a first record, a wrong one is an error.
  await refused(folderOf({ 'a.jsonl': '{"text":"x"}\n{"body":"y"}', 'b.txt': 'b' }), /"text" is not in a\.jsonl:2/)
})

test('a Parquet file without the column is skipped, and the notice names its columns', async () => {
  const nested = join(import.meta.dirname, '../../../node/data/sources/fixtures/nested.parquet')
  const folder = folderOf({ 'a.txt': 'a' })
  symlinkSync(nested, join(folder, 'nested.parquet'))
  const { notices } = await read(folder)
  expect(notices).toEqual([
    expect.stringMatching(/1 without the field \(nested\.parquet: columns: .*\)\. Set data\.field/),
  ])
  expect((await read(folder, { field: 'body.text' })).notices).toEqual([])
})

test('a folder in which nothing is text is refused', async () => {
  await refused(
    folderOf({ 'a.png': png, 'b.txt': latin1('\xe9') }),
    /no file can be read as text: 1 not UTF-8 \(b\.txt.*, 1 binary \(a\.png\)/,
  )
})

const onLinux = process.platform === 'linux' ? test : test.skip

onLinux('a file that cannot be read is skipped in a folder, and refused by name', async () => {
  const folder = folderOf({ 'a.txt': 'a', 'secret.txt': 's' })
  chmodSync(join(folder, 'secret.txt'), 0)
  // A regular file that not even root can read.
  symlinkSync('/proc/self/mem', join(folder, 'memory'))
  // A file whose reported size, 0, is not its number of bytes.
  symlinkSync('/proc/mounts', join(folder, 'mtab'))
  const { texts, notices } = await read(folder)
  expect(texts).toMatchObject({ 'a.txt': 'a' })
  expect(notices[0]).toMatch(/not readable \(memory: EIO/)
  expect(notices[0]).toMatch(/1 not a file \(mtab: without a size\)/)
  await refused(join(folder, 'memory'), /cannot read memory: EIO/)
})

test('an encoding that no decoder knows is refused, with the nearest known one', () => {
  const parse = (encoding: unknown) => parseInput(dataSchema, { encoding }, 'data')
  expect(parse('Latin1').encoding).toBe('Latin1')
  expect(() => parse('latin-1')).toThrow(
    /invalid encoding: "latin-1" \(expected utf-8, or another .*did you mean "latin1"\?\)/,
  )
  expect(() => parse('iso-2022-jp')).toThrow(/invalid encoding/)
  expect(() => parse(5)).toThrow(/invalid encoding: 5 \(expected text\)/)
})
