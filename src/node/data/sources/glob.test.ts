import { spawnSync } from 'node:child_process'
import { mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, posix, relative } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { UsageError } from '../../../core/errors.ts'
import { temporaryFolder } from '../testing/temporary-folder.ts'
import { filesOfGlob } from './glob.ts'

const temporary = temporaryFolder()

function folderOf(paths: readonly string[]): string {
  const folder = temporary.make()
  for (const path of paths) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), '')
  }
  return folder
}

const matches = async (folder: string, pattern: string): Promise<string[]> =>
  (await filesOfGlob(`${folder}/${pattern}`)).map((path) => relative(folder, path)).sort()

const bash = spawnSync('bash', ['-c', 'shopt -s globstar']).status === 0

/** The files that bash finds. Bash is the independent witness. */
function found(folder: string, pattern: string): string[] {
  const script = `shopt -s globstar nullglob; printf '%s\\n' ./${pattern}`
  const { stdout } = spawnSync('bash', ['-c', script], { cwd: folder, encoding: 'utf8', env: { LC_ALL: 'C' } })
  const isFile = (path: string): boolean => {
    try {
      return statSync(join(folder, path)).isFile()
    } catch {
      // Bash returns a word without wildcards whether or not a file of that name exists.
      return false
    }
  }
  return [...new Set(stdout.split('\n').map((path) => posix.normalize(path)))].filter(isFile).sort()
}

test.skipIf(!bash)('a glob matches the files that bash finds', async () => {
  const folder = folderOf(
    ['', 'a/', 'b/', 'a/b/', 'a/b/a/', 'b/ab/', '.h/', 'a/.h/'].flatMap((at) =>
      ['a', 'ab', 'ba.t', 'a-b', 'bb.t', '.ab', 'abab', 'a]'].map((name) => `${at}${name}.x`),
    ),
  )
  const inName = fc.constantFrom(
    'a',
    'b',
    '.x',
    '*',
    '*',
    '?',
    '[ab]',
    '[!a]',
    '[a-b]',
    '[]b]',
    '-',
    '{a,b}',
    '{a,*.t,}',
  )
  const name = fc.array(inName, { minLength: 1, maxLength: 5 }).map((parts) => parts.join(''))
  const segment = fc.oneof(
    { weight: 3, arbitrary: name },
    fc.constantFrom('**', '**', '.h', '.*', 'a', '{a,a/b}', '{a,*.t,}'),
  )
  const pattern = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join('/'))
  await fc.assert(
    fc.asyncProperty(pattern, async (text) => {
      // A pattern with more braces may stand for too many patterns, and is refused.
      fc.pre(text.split('{').length < 5)
      expect(await matches(folder, text)).toEqual(found(folder, text))
    }),
    { numRuns: 150 },
  )
})

test('a pattern with many wildcards is searched for in little time', async () => {
  const long = `${'a'.repeat(200)}.txt`
  const folder = folderOf(['a'.repeat(200), long, `b/${long}`, `b/c/${long}`])
  const began = performance.now()
  expect(await matches(folder, `${'*a'.repeat(60)}*.txt`)).toEqual([long])
  expect(await matches(folder, `${'**/'.repeat(60)}${'*'.repeat(100)}a*b`)).toEqual([])
  expect(await matches(folder, `${'**/'.repeat(30)}${'*a'.repeat(100)}*.txt`)).toEqual([
    long,
    `b/${long}`,
    `b/c/${long}`,
  ])
  expect(await matches(folder, `${'*/../'.repeat(100)}b/*`)).toEqual([`b/${long}`])
  expect(performance.now() - began).toBeLessThan(2000)
})

test('a pattern that stands for very many patterns is refused', async () => {
  const folder = temporary.make()
  for (const pattern of ['{a,b}'.repeat(60), `${'{a,b,'.repeat(30)}${'}'.repeat(30)}*`.repeat(5), '*'.repeat(5000)])
    await expect(filesOfGlob(`${folder}/${pattern}`)).rejects.toThrow(UsageError)
})

test.skipIf(process.platform === 'win32')('links are followed, and ** follows a loop only once', async () => {
  const folder = folderOf(['in/a.txt'])
  const outside = folderOf(['far/b.txt'])
  symlinkSync(outside, join(folder, 'in', 'out'))
  symlinkSync('..', join(folder, 'in', 'up'))
  symlinkSync('nowhere', join(folder, 'broken.txt'))
  expect(await matches(folder, '**/*.txt')).toEqual(['in/a.txt', 'in/out/far/b.txt'])
  expect(await matches(folder, 'in/up/*/*.txt')).toEqual(['in/up/in/a.txt'])
})

test('a search ends when it is aborted', async () => {
  const folder = folderOf(Array.from({ length: 300 }, (_, i) => `${i}/a.txt`))
  const controller = new AbortController()
  const search = filesOfGlob(`${folder}/**/*.txt`, controller.signal)
  setImmediate(() => controller.abort())
  await expect(search).rejects.toThrow(/abort/)
})
