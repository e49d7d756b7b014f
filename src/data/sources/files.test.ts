import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { beforeAll, expect, test } from 'vitest'
import { UsageError } from '../../errors.ts'
import { temporaryFolder } from '../testing/temporary-folder.ts'
import { hashFiles } from './content.ts'
import { resolveSources, sourceFolder } from './files.ts'

const temporary = temporaryFolder()
const root = temporary.make()
const scratch = temporary.make()

beforeAll(() => {
  mkdirSync(join(root, 'b', 'c'), { recursive: true })
  mkdirSync(join(root, 'empty'))
  for (const name of ['z.txt', 'a.MD', 'b/x.jsonl.gz', 'b/c/y.parquet', 'b/c/code.py', 'b/data.json', '.hidden.txt'])
    writeFileSync(join(root, name), name)
})

const names = async (source: string | string[]) => (await resolveSources(source, { scratch })).map((file) => file.name)

test('a folder gives its files of known kinds, subfolders included, sorted by name', async () => {
  const files = await resolveSources(root, { scratch })
  expect(files.map(({ name, format, gzip }) => [name, format, gzip])).toEqual([
    ['a.MD', 'text', false],
    ['b/c/y.parquet', 'parquet', false],
    ['b/data.json', 'json', false],
    ['b/x.jsonl.gz', 'jsonl', true],
    ['z.txt', 'text', false],
  ])
})

test('a file, a glob, or several of them; a file matched twice is taken once', async () => {
  expect(await names(join(root, 'b', 'c', 'code.py'))).toEqual(['code.py'])
  const glob = await resolveSources(join(root, '**', '*.{txt,py}'), { scratch })
  expect(glob.map((file) => file.path)).toEqual([join(root, 'b', 'c', 'code.py'), join(root, 'z.txt')])
  expect(await names([join(root, 'z.txt'), root])).toHaveLength(5)
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
  await refused(join(root, 'empty'), /has no file of a known kind/)
})

test('standard input is saved in the scratch folder and its format is detected', async () => {
  const given = async (content: string | Buffer) => {
    const [file] = await resolveSources('-', { scratch, stdin: Readable.from([content]) })
    expect(readFileSync(file?.path ?? '')).toEqual(Buffer.from(content))
    return [file?.format, file?.gzip]
  }
  expect(await given('plain text')).toEqual(['text', false])
  expect(await given('{"text": "a"}\n')).toEqual(['jsonl', false])
  expect(await given(gzipSync('{"text": "a"}\n'))).toEqual(['jsonl', true])
  expect(await given(gzipSync('text'))).toEqual(['text', true])
  expect(await given(readFileSync(join(import.meta.dirname, 'fixtures', 'flat.parquet')))).toEqual(['parquet', false])
})

test('the hash depends on content, names and field, and on nothing else', async () => {
  const here = temporary.make()
  const there = temporary.make()
  const hash = async (folder: string, content: string, field = 'text') => {
    writeFileSync(join(folder, 'a.txt'), content)
    return (await hashFiles(await resolveSources(folder, { scratch }), field)).hash
  }
  const first = await hash(here, 'one')
  expect(await hash(there, 'one')).toBe(first)
  expect(await hash(here, 'two')).not.toBe(first)
  expect(await hash(here, 'one', 'body')).not.toBe(first)
})

test('the place of a source is the path itself, the part of a glob before its patterns, or undefined', () => {
  expect(sourceFolder('sotu')).toBeUndefined()
  expect(sourceFolder('-')).toBeUndefined()
  expect(sourceFolder('src/data')).toBe(resolve('src/data'))
  expect(sourceFolder('src/missing.txt')).toBe(resolve('src/missing.txt'))
  expect(sourceFolder('src/data/*.ts')).toBe(resolve('src/data'))
  expect(sourceFolder('src/da*/*.ts')).toBe(resolve('src'))
  expect(sourceFolder('*.md')).toBe(resolve('.'))
  expect(sourceFolder('../{a,b}/*.md')).toBe(resolve('..'))
})
