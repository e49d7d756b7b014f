/** `choir corpus` on packages made up for the test, with the real operations. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { allBut, extractedPackage, prose } from '../../../tools/corpus/testing/packages.ts'
import { main } from '../main.ts'
import { operations } from '../operations.ts'
import { type Fake, fakeIo } from '../testing/fake.ts'

const temporary = temporaryFolder()

function packages(): string {
  const root = temporary.make()
  extractedPackage(root, 'git-doc', { 'usr/share/doc/git-doc/a.txt': prose('a') }, '2.5-1')
  return root
}

const without = allBut('manuals', ['git-doc']).flatMap((name) => ['--without', name])

async function run(...args: string[]): Promise<Fake & { readonly code: number }> {
  const fake = fakeIo()
  const io = {
    ...fake.io,
    operations: { ...fake.io.operations, createCorpus: operations.createCorpus, listRecipes: operations.listRecipes },
  }
  return { ...fake, code: await main(['corpus', ...args], io) }
}

test('lists the recipes with their packages and licences, and the packages that are installed', async () => {
  const { code, stdout } = await run('--root', packages())
  expect(code).toBe(0)
  expect(stdout.text).toMatch(/manuals: .* \(1 of \d+ packages installed\)/)
  expect(stdout.text).toMatch(/git-doc +yes +GPL-2 +git\n/)
  expect(stdout.text).toMatch(/perl-doc +no +GPL-1\+ or Artistic +perl\n/)
  const json = JSON.parse((await run('--root', packages(), '--json')).stdout.text)
  expect(json.recipes.map(({ name }: { name: string }) => name)).toEqual(['manuals', 'kernel', 'languages', 'mixed'])
})

test('makes a corpus, prints its size, hash and files, and reports an existing corpus as unchanged', async () => {
  const [root, out] = [packages(), join(temporary.make(), 'corpus')]
  const first = await run('manuals', '--root', root, '--out', out, ...without)
  expect(first.code, first.stderr.text).toBe(0)
  const { sha256 } = JSON.parse(readFileSync(join(out, '.corpus.json'), 'utf8'))
  expect(first.stdout.text).toContain(sha256)
  expect(first.stdout.text).toMatch(/corpus +manuals, 1 document, \d+ B of text/)
  expect(first.stdout.text).toMatch(/git\.jsonl +1 +\d+ B\n/)
  expect(first.stderr.text).toMatch(/^choir: reading git-doc: file 0 of 1; /)
  const again = await run('manuals', '--root', root, '--out', out, ...without)
  expect(again.code).toBe(0)
  expect(again.stdout.text).toMatch(/has this corpus already, unchanged/)
  const json = await run('manuals', '--root', root, '--out', out, ...without, '--json')
  expect(json.stderr.text).toBe('')
  expect(JSON.parse(json.stdout.text)).toMatchObject({ kind: 'corpus', unchanged: true, sha256, documents: 1 })
})

test('wrong usage ends with exit code 2 and writes nothing; missing packages end with 1', async () => {
  const [root, out] = [packages(), join(temporary.make(), 'corpus')]
  const refused = async (args: string[], code: number, message: RegExp): Promise<void> => {
    const result = await run(...args)
    expect(result.code).toBe(code)
    expect(result.stderr.text).toMatch(message)
    expect(existsSync(out)).toBe(false)
  }
  await refused(['manuals', '--root', root], 2, /missing --out/)
  await refused(['--out', out], 2, /missing recipe/)
  await refused(['manuel', '--out', out], 2, /did you mean "manuals"/)
  await refused(['manuals', '--root', root, '--out', out, '--without', 'nothing'], 2, /invalid --without: "nothing"/)
  await refused(['manuals', '--root', root, '--out', out, '--download'], 2, /--download.*cannot be used with.*--root/)
  await refused(
    ['manuals', '--root', root, '--out', out],
    1,
    /packages are missing .*apt-get download linux-source-6\.12/,
  )
  const file = join(temporary.make(), 'file')
  writeFileSync(file, '')
  expect((await run('manuals', '--root', root, '--out', file, ...without)).code).toBe(2)
  const isFile = /^choir: invalid --root: ".*file" is a file \(expected a folder\)$/m
  await refused(['manuals', '--root', file, '--out', out], 2, isFile)
  await refused(['--root', file], 2, isFile)
})
