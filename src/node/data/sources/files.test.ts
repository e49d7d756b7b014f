import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { beforeAll, expect, test } from 'vitest'
import { UsageError } from '../../../core/errors.ts'
import { temporaryFolder } from '../testing/temporary-folder.ts'
import { hashFiles } from './content.ts'
import { resolveSources, sourceFolder } from './files.ts'

const temporary = temporaryFolder()
const root = temporary.make()
const scratch = temporary.make()

beforeAll(() => {
  mkdirSync(join(root, 'b', 'c'), { recursive: true })
  mkdirSync(join(root, 'empty'))
  for (const name of [
    'z.txt',
    'a.MD',
    'b/x.jsonl.gz',
    'b/c/y.parquet',
    'b/c/code.py',
    'b/data.json',
    '.hidden.txt',
    'LICENSE',
  ])
    writeFileSync(join(root, name), name)
})

const names = async (source: string | string[]) =>
  (await resolveSources(source, { scratch })).files.map((file) => file.name)

test('a folder gives all files except hidden files, subfolders included, sorted by name', async () => {
  const { files, skipped } = await resolveSources(root, { scratch })
  expect(files.map(({ name, format, gzip }) => [name, format, gzip])).toEqual([
    ['LICENSE', 'text', false],
    ['a.MD', 'text', false],
    ['b/c/code.py', 'text', false],
    ['b/c/y.parquet', 'parquet', false],
    ['b/data.json', 'json', false],
    ['b/x.jsonl.gz', 'jsonl', true],
    ['z.txt', 'text', false],
  ])
  expect(skipped).toEqual([])
})

test('a source is a file, a glob, or a list of them; a file matched twice is taken once', async () => {
  expect(await names(join(root, 'b', 'c', 'code.py'))).toEqual(['code.py'])
  expect(await names(join(root, '.hidden.txt'))).toEqual(['.hidden.txt'])
  const glob = await resolveSources(join(root, '**', '*.{txt,py}'), { scratch })
  expect(glob.files.map((file) => file.path)).toEqual([join(root, 'b', 'c', 'code.py'), join(root, 'z.txt')])
  expect(await names([join(root, 'z.txt'), root])).toHaveLength(7)
})

const links = process.platform === 'win32' ? test.skip : test

links('links are followed; loops, pipes, broken links and packages are listed and never waited for', async () => {
  const folder = temporary.make()
  const outside = temporary.make()
  for (const path of ['sub/node_modules', '.git']) mkdirSync(join(folder, path), { recursive: true })
  for (const path of ['sub/in.ts', 'sub/node_modules/package.ts', '.git/config'])
    writeFileSync(join(folder, path), path)
  writeFileSync(join(outside, 'far.txt'), 'far')
  symlinkSync(outside, join(folder, 'linked'))
  symlinkSync(join(outside, 'far.txt'), join(folder, 'near.txt'))
  symlinkSync('..', join(folder, 'sub', 'up'))
  symlinkSync('nowhere', join(folder, 'broken'))
  symlinkSync('self', join(folder, 'self'))
  execFileSync('mkfifo', [join(folder, 'pipe')])
  const { files, skipped } = await resolveSources(folder, { scratch })
  expect(files.map(({ name }) => name)).toEqual(['linked/far.txt', 'near.txt', 'sub/in.ts'])
  expect(skipped.map(({ name, reason, detail }) => [name, reason, detail])).toEqual([
    ['broken', 'access', 'ENOENT'],
    ['pipe', 'special', 'a named pipe'],
    ['self', 'access', 'ELOOP'],
    ['sub/node_modules', 'packages', ''],
    ['sub/up', 'loop', ''],
  ])
  expect(await names(join(folder, 'sub', 'node_modules'))).toEqual(['package.ts'])
  await expect(names(join(folder, 'pipe'))).rejects.toThrow(
    /pipe is a named pipe \(expected a file or folder; .* use -/,
  )
  // A glob takes exactly the files that it matches.
  const glob = await names(join(folder, 'sub', '{*,node_modules/*}.ts'))
  expect(glob.map((name) => basename(name))).toEqual(['in.ts', 'package.ts'])
})

test('named corpora are complete and in reading order', async () => {
  const sotu = await names('sotu')
  expect(sotu).toHaveLength(233)
  expect([sotu[0], sotu.at(-1)]).toEqual(['sotu/1790_george_washington_n', 'sotu/2021_joseph_r_biden_d'])
  const moby = await names('moby-dick')
  expect(moby).toHaveLength(138)
  expect(moby.slice(0, 3)).toEqual(['moby-dick/chapter_1', 'moby-dick/chapter_2', 'moby-dick/chapter_3'])
})

test('a source that matches nothing is refused, with the nearest name', async () => {
  const refused = async (source: string, message: RegExp) => {
    await expect(names(source)).rejects.toThrow(UsageError)
    await expect(names(source)).rejects.toThrow(message)
  }
  await refused('sotuu', /no file, folder or corpus "sotuu" \(did you mean "sotu"\?\)/)
  await refused(join(root, 'zz.txt'), /did you mean ".*z\.txt"\?/)
  await refused('/nowhere/at/all/xyzzy', /corpora: sotu, moby-dick/)
  await refused(join(root, '*.csv'), /no file matches .*\*\.csv/)
  await refused(join(root, 'empty'), /folder .*empty has no files to read \(hidden ones are left out\)/)
})

test('standard input is saved in the scratch folder and its format is detected', async () => {
  const given = async (content: string | Buffer) => {
    const { files } = await resolveSources('-', { scratch, stdin: Readable.from([content]) })
    const [file] = files
    expect(readFileSync(file?.path ?? '')).toEqual(Buffer.from(content))
    return [file?.format, file?.gzip]
  }
  expect(await given('plain text')).toEqual(['text', false])
  expect(await given('{"text": "a"}\n')).toEqual(['jsonl', false])
  expect(await given(Buffer.from('\ufeff{"text": "a"}\n', 'utf16le'))).toEqual(['jsonl', false])
  expect(await given('\ufeff {"text": "a"}\n')).toEqual(['jsonl', false])
  expect(await given(gzipSync('{"text": "a"}\n'))).toEqual(['jsonl', true])
  expect(await given(gzipSync('text'))).toEqual(['text', true])
  expect(await given(readFileSync(join(import.meta.dirname, 'fixtures', 'flat.parquet')))).toEqual(['parquet', false])
})

test('the hash depends on content, names and field, and on nothing else', async () => {
  const here = temporary.make()
  const there = temporary.make()
  const hash = async (folder: string, content: string, field = 'text') => {
    writeFileSync(join(folder, 'a.txt'), content)
    return (await hashFiles(await resolveSources(folder, { scratch }), { field, encoding: 'utf-8' })).hash
  }
  const first = await hash(here, 'one')
  expect(await hash(there, 'one')).toBe(first)
  expect(await hash(here, 'two')).not.toBe(first)
  expect(await hash(here, 'one', 'body')).not.toBe(first)
})

test('texts that earlier versions could read keep their hash', async () => {
  const folder = temporary.make()
  mkdirSync(join(folder, 'b'))
  writeFileSync(join(folder, 'a.txt'), 'one\n')
  writeFileSync(join(folder, 'b', 'c.jsonl'), '{"text":"two"}\n')
  writeFileSync(join(folder, 'b', 'd.json'), '["three"]')
  for (const [source, hash] of [
    [folder, '04be151c89c04d6197bf3582f908cca76406ed95d0d11200a1160949e6fb6346'],
    ['moby-dick', '288a8bcc1342b6feb09ddd2a1c1179f54be40bf473891780d2972d306d1fe891'],
  ] as const)
    for (const encoding of ['utf-8', 'latin1']) {
      const resolved = await resolveSources(source, { scratch })
      expect((await hashFiles(resolved, { field: 'text', encoding })).hash).toBe(hash)
    }
})

test('the place of a source is the path itself, the part of a glob before its patterns, or undefined', () => {
  expect(sourceFolder('sotu')).toBeUndefined()
  expect(sourceFolder('-')).toBeUndefined()
  expect(sourceFolder('src/node/data')).toBe(resolve('src/node/data'))
  expect(sourceFolder('src/missing.txt')).toBe(resolve('src/missing.txt'))
  expect(sourceFolder('src/node/data/*.ts')).toBe(resolve('src/node/data'))
  expect(sourceFolder('src/da*/*.ts')).toBe(resolve('src'))
  expect(sourceFolder('*.md')).toBe(resolve('.'))
  expect(sourceFolder('../{a,b}/*.md')).toBe(resolve('..'))
})
