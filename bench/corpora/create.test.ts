import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { RunError, UsageError } from '../../src/core/errors.ts'
import { resolveSources } from '../../src/node/data/sources/files.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { type CorpusOptions, createCorpus } from './create.ts'
import { manifestFile, readManifest, summaryFile } from './manifest.ts'
import { allBut, extractedPackage, type Files, installedPackages, prose, writeFiles } from './testing/packages.ts'

const temporary = temporaryFolder()

const git = (name: string): string => `usr/share/doc/git-doc/${name}.txt`
const kept = ['git-doc', 'python*-doc', 'manpages', 'perl-doc']
const without = allBut('manuals', kept)

const packages: Readonly<Record<string, Files>> = {
  'git-doc': {
    [git('a')]: prose('a'),
    [git('b')]: `${prose('b')}\nnaïve\n`,
    [git('again')]: prose('a'),
    [git('short')]: 'A title.\n',
    [git('binary')]: Buffer.from('text\0text'),
    [git('latin')]: Buffer.from(`${prose('latin')} caf\xe9`, 'latin1'),
  },
  'python3.13-doc': {
    'usr/share/doc/python3.13/html/x.html': `<body><div class="related">menu</div>${prose('python')
      .split('\n\n')
      .map((text) => `<p>${text} &amp; &lt;</p>`)
      .join('')}</body>`,
    'usr/share/doc/python3.13/html/genindex.html': `<p>${prose('index')}</p>`,
  },
  manpages: { 'usr/share/man/man7/man.7.gz': gzipSync(`.SH NAME\n${prose('man').replaceAll('\n\n', '\n.PP\n')}`) },
  'perl-doc': { 'usr/share/perl/5.40/pod/perl.pod': `=head1 NAME\n\n${prose('perl')}\n\n=cut\n` },
}

function extracted(): string {
  const root = temporary.make()
  for (const [name, files] of Object.entries(packages)) extractedPackage(root, name, files)
  return root
}

/** Hash of all names and bytes in a folder. */
function hashOf(folder: string): string {
  const hash = createHash('sha256')
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    hash.update(name)
    if (
      !readdirSync(folder, { recursive: true, withFileTypes: true })
        .find((entry) => join(entry.parentPath, entry.name) === join(folder, name))
        ?.isFile()
    )
      continue
    hash.update(readFileSync(join(folder, name)))
  }
  return hash.digest('hex')
}

const documents = (folder: string, file: string): { name: string; text: string; package: string }[] =>
  readFileSync(join(folder, file), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

const create = (out: string, options: CorpusOptions = {}) => createCorpus('manuals', out, { without, ...options })

test('a corpus has cleaned documents of packages by domain, and counts what is left out by reason', async () => {
  const out = join(temporary.make(), 'deep', 'corpus')
  const { manifest, isUnchanged } = await create(out, { root: extracted() })
  expect(isUnchanged).toBe(false)
  expect(documents(out, 'git.jsonl')).toEqual([
    { text: `${prose('a')}\n`, name: 'git-doc/git-doc/a.txt', package: 'git-doc' },
    { text: `${prose('b')}\nnaïve\n`, name: 'git-doc/git-doc/b.txt', package: 'git-doc' },
  ])
  expect(documents(out, 'python.jsonl')).toMatchObject([
    { text: `${prose('python').replaceAll('.\n', '. & <\n')} & <\n`, name: 'python3.13-doc/python3.13/html/x.html' },
  ])
  expect(documents(out, 'man-pages.jsonl')[0]?.text).toBe(`NAME\n\n${prose('man')}\n`)
  expect(documents(out, 'perl.jsonl')[0]?.text).toBe(`NAME\n\n${prose('perl')}\n`)
  expect(manifest.packages.find(({ name }) => name === 'git-doc')).toMatchObject({
    version: '1.0-1',
    licences: ['MIT'],
    documents: 2,
    dropped: { short: 1, duplicate: 1, copied: 0, binary: 1, encoding: 1, damaged: 0 },
  })
  const bytes = manifest.domains
    .flatMap(({ file }) => documents(out, file))
    .reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)
  expect(manifest).toMatchObject({ documents: 5, bytes, recipe: 'manuals' })
  expect(readFileSync(join(out, summaryFile), 'utf8')).toMatch(
    /git-doc 1\.0-1\n {4}licences: MIT\n.*\n.*1 duplicates; 1 binary files/,
  )
  expect(readdirSync(join(out, '.copyright')).sort()).toEqual(['git-doc', 'manpages', 'perl-doc', 'python3.13-doc'])
})

test('a training on the folder reads the documents and nothing else', async () => {
  const out = join(temporary.make(), 'corpus')
  await create(out, { root: extracted() })
  const { files, skipped } = await resolveSources(out, { scratch: out })
  expect(files.map(({ name, format }) => [name, format])).toEqual(
    ['git.jsonl', 'man-pages.jsonl', 'perl.jsonl', 'python.jsonl'].map((name) => [name, 'jsonl']),
  )
  expect(skipped).toEqual([])
})

test('the same packages give the same bytes, installed or extracted, in any order of writing', async () => {
  const [first, second] = [join(temporary.make(), 'corpus'), join(temporary.make(), 'corpus')]
  const backwards = temporary.make()
  for (const [name, files] of Object.entries(packages).reverse())
    extractedPackage(backwards, name, Object.fromEntries(Object.entries(files).reverse()))
  await create(first, { root: extracted() })
  await create(second, { root: backwards })
  expect(hashOf(second)).toBe(hashOf(first))
  const system = temporary.make()
  installedPackages(system, packages)
  const third = join(temporary.make(), 'corpus')
  const { manifest } = await create(third, { root: system })
  expect(manifest.sha256).toBe(readManifest(first)?.sha256)
  expect(manifest.domains).toEqual(readManifest(first)?.domains)
})

test('a corpus that is there already is kept if it is the same, and replaced only by force', async () => {
  const [root, out] = [extracted(), join(temporary.make(), 'corpus')]
  await create(out, { root })
  const before = hashOf(out)
  expect(await create(out, { root })).toMatchObject({ isUnchanged: true })
  // Other packages, another version or changed files make another corpus.
  await expect(create(out, { root, without: [...without, 'perl-doc'] })).rejects.toThrow(
    /invalid out: .* holds the corpus manuals/,
  )
  extractedPackage(root, 'git-doc', {}, '1.0-2')
  await expect(create(out, { root })).rejects.toThrow(UsageError)
  expect(hashOf(out)).toBe(before)
  await create(out, { root, force: true })
  expect(readManifest(out)?.packages.find(({ name }) => name === 'git-doc')?.version).toBe('1.0-2')
  writeFileSync(join(out, 'git.jsonl'), '')
  await expect(create(out, { root })).rejects.toThrow(/changed files/)
})

test('a folder that holds anything else is not touched, even by force; an empty folder is used', async () => {
  const root = extracted()
  const out = temporary.make()
  writeFileSync(join(out, 'notes.txt'), 'mine')
  await expect(create(out, { root, force: true })).rejects.toThrow(/holds files that are no corpus/)
  await expect(create(join(out, 'notes.txt'), { root })).rejects.toThrow(/is a file/)
  expect(readFileSync(join(out, 'notes.txt'), 'utf8')).toBe('mine')
  const empty = temporary.make()
  await create(empty, { root })
  expect(existsSync(join(empty, manifestFile))).toBe(true)
})

test('a missing package is an error that names it and the command that gets it', async () => {
  const root = extracted()
  const out = join(temporary.make(), 'corpus')
  const error = await createCorpus('manuals', out, {
    root,
    without: allBut('manuals', ['linux-source-*', 'git-doc']),
  }).catch((error: Error) => error)
  expect(error).toBeInstanceOf(RunError)
  expect((error as Error).message).toMatch(
    /a package is missing in .*: linux-source-6\.12\. .*dpkg-deb -R linux-source-6\.12_\*\.deb .*add download, .*without='linux-source-\*'/,
  )
  expect(existsSync(out)).toBe(false)
})

test('wrong usage is refused with what is accepted', async () => {
  const out = join(temporary.make(), 'corpus')
  const refused = async (recipe: string, options: CorpusOptions, message: RegExp): Promise<void> => {
    const error = await createCorpus(recipe, out, options).catch((error: Error) => error)
    expect(error).toBeInstanceOf(UsageError)
    expect((error as Error).message).toMatch(message)
  }
  await refused('manual', {}, /there is no recipe "manual" \(did you mean "manuals"\?\)/)
  await refused('xyz', {}, /expected manuals, kernel, languages or mixed/)
  await refused('manuals', { without: ['git-docs'] }, /invalid without: "git-docs" .*did you mean "git-doc"\?/)
  await refused('kernel', { without: ['linux-source-6.18'] }, /no package of the recipe kernel is left/)
  await refused('manuals', { without, root: join(out, 'none') }, /invalid root: there is no folder/)
  expect(existsSync(out)).toBe(false)
})

test('neither an interrupted build nor a failed build leaves anything', async () => {
  const [root, parent] = [extracted(), temporary.make()]
  const controller = new AbortController()
  const out = join(parent, 'deep', 'corpus')
  const building = create(out, { root, signal: controller.signal, onProgress: () => controller.abort() })
  await expect(building).rejects.toThrow(/abort/i)
  expect(readdirSync(parent)).toEqual([])
  writeFiles(root, { 'vim-runtime/usr/share/vim/readme': 'no documents here' })
  await expect(create(out, { root, without: allBut('manuals', ['git-doc', 'vim-runtime']) })).rejects.toThrow(
    /package vim-runtime {2}has no documents where the recipe expects them/,
  )
  expect(readdirSync(parent)).toEqual([])
})

const hasTools = spawnSync('xz', ['--version']).status === 0 && spawnSync('tar', ['--version']).status === 0

test.skipIf(!hasTools)(
  'the recipe kernel takes members of the archive in its package by their folders, without tables of drivers',
  async () => {
    const [root, source] = [temporary.make(), temporary.make()]
    const code = (name: string): string => `/* ${prose(name)} */\nint ${name}(void)\n{\n\treturn 0;\n}\n`
    const many = Object.fromEntries(
      Array.from({ length: 200 }, (_, i) => [`linux-source-6.18/drivers/net/d${i}.c`, code(`driver${i}`)]),
    )
    writeFiles(source, {
      'linux-source-6.18/kernel/fork.c': code('fork'),
      'linux-source-6.18/kernel/Makefile': prose('make'),
      'linux-source-6.18/arch/x86/kernel/cpu.c': code('cpu'),
      'linux-source-6.18/arch/sparc/kernel/cpu.c': code('sparc'),
      'linux-source-6.18/drivers/gpu/drm/amd/include/registers.h': code('registers'),
      ...many,
    })
    mkdirSync(join(root, 'linux-source-6.18', 'usr/src'), { recursive: true })
    const archive = join(root, 'linux-source-6.18', 'usr/src/linux-source-6.18.tar.xz')
    execFileSync('tar', ['-cJf', archive, '-C', source, 'linux-source-6.18'])
    const [out, again] = [join(temporary.make(), 'corpus'), join(temporary.make(), 'corpus')]
    await expect(createCorpus('kernel', out, { root })).rejects.toThrow(
      /tar failed \(exit code 2\): tar: linux-source-\*\S+: Not found in archive/,
    )
    const folders = 'mm lib init ipc io_uring block virt security crypto certs fs net include arch/arm64 arch/riscv'
    for (const folder of folders.split(' '))
      writeFiles(source, { [`linux-source-6.18/${folder}/${folder === 'include' ? 'a.h' : 'a.txt'}`]: code('a') })
    writeFiles(source, { 'linux-source-6.18/fs/a.c': code('fs'), 'linux-source-6.18/net/a.c': code('net') })
    execFileSync('tar', ['-cJf', archive, '-C', source, 'linux-source-6.18'])
    const { manifest } = await createCorpus('kernel', out, { root })
    expect(manifest.packages[0]?.name).toBe('linux-source-6.18')
    expect(documents(out, 'core.jsonl').map(({ name }) => name)).toEqual(['linux-source-6.18/kernel/fork.c'])
    expect(documents(out, 'arch.jsonl').map(({ name }) => name)).toEqual(['linux-source-6.18/arch/x86/kernel/cpu.c'])
    // The recipe takes 5 % of 200 drivers by the hash of their names: 10, give or take four standard deviations of 3.1.
    const drivers = documents(out, 'drivers.jsonl')
    expect(drivers.length).toBeGreaterThan(0)
    expect(drivers.length).toBeLessThan(23)
    expect(drivers.some(({ name }) => name.includes('registers'))).toBe(false)
    cpSync(root, join(again, '..', 'root'), { recursive: true })
    await createCorpus('kernel', again, { root: join(again, '..', 'root') })
    expect(hashOf(again)).toBe(hashOf(out))
  },
)
