import { rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { licencesOf, Packages } from './packages.ts'
import { extractedPackage, installedPackages, writeFiles } from './testing/packages.ts'

const temporary = temporaryFolder()
const all = (): boolean => true

test('an installed package has the files that the database of dpkg lists, in order and without links', () => {
  const root = temporary.make()
  installedPackages(root, {
    'git-doc': { 'usr/share/doc/git-doc/b.txt': 'b', 'usr/share/doc/git-doc/a.txt': 'a' },
    other: { 'usr/share/doc/git-doc/other.txt': 'of another package' },
  })
  symlinkSync('a.txt', join(root, 'usr/share/doc/git-doc/link.txt'))
  const found = new Packages(root).find('git-doc')
  expect(found).toMatchObject({ name: 'git-doc', version: '2.0-1', licences: ['MIT'] })
  expect(found?.files((name) => name.endsWith('.txt')).map(({ name }) => name)).toEqual([
    'usr/share/doc/git-doc/a.txt',
    'usr/share/doc/git-doc/b.txt',
  ])
  expect(new Packages(root).find('python*-doc')).toBeUndefined()
})

test('a removed package is not found, even if its settings are left', () => {
  const root = temporary.make()
  installedPackages(root, { 'git-doc': {} })
  writeFiles(root, { 'var/lib/dpkg/status': 'Package: git-doc\nStatus: deinstall ok config-files\nVersion: 2\n' })
  expect(new Packages(root).find('git-doc')).toBeUndefined()
})

test('files that the database lists and the disk lacks are an error only if they are wanted', () => {
  const root = temporary.make()
  installedPackages(root, { 'git-doc': { 'usr/share/doc/git-doc/a.txt': 'a', 'usr/share/doc/git-doc/b.html': 'b' } })
  rmSync(join(root, 'usr/share/doc/git-doc/a.txt'))
  const found = new Packages(root).find('git-doc')
  expect(found?.files((name) => name.endsWith('.html'))).toHaveLength(1)
  expect(() => found?.files(all)).toThrow(/package git-doc: 1 of its files are missing.*Use download,/s)
})

test('the newest extracted package is found, with the version in its control file or its changelog', () => {
  const root = temporary.make()
  extractedPackage(root, 'linux-source-6.9', { 'usr/src/a': '' })
  extractedPackage(root, 'linux-source-6.18', { 'usr/src/b': '' }, '6.18.2-1')
  expect(new Packages(root).find('linux-source-*')).toMatchObject({ name: 'linux-source-6.18', version: '6.18.2-1' })
  writeFiles(root, { 'git-doc/usr/share/doc/git-doc/changelog': 'git (1:2.5-1) unstable; urgency=low\n' })
  expect(new Packages(root).find('git-doc')).toMatchObject({ version: '1:2.5-1', licences: [], copyright: undefined })
})

test('a folder of documentation that is a link leads into another package, and not out of the root', () => {
  const root = temporary.make()
  extractedPackage(root, 'manpages', {})
  writeFiles(root, { 'manpages-dev/usr/share/man/man3/a.3': 'a' })
  writeFiles(root, { 'manpages-dev/usr/share/doc/empty': '' })
  symlinkSync('manpages', join(root, 'manpages-dev/usr/share/doc/manpages-dev'))
  expect(new Packages(root).find('manpages-dev')).toMatchObject({ licences: ['MIT'] })
  const outside = temporary.make()
  writeFiles(outside, { copyright: 'GNU General Public License' })
  writeFiles(root, { 'git-doc/usr/share/doc/empty': '' })
  symlinkSync(outside, join(root, 'git-doc/usr/share/doc/git-doc'))
  expect(new Packages(root).find('git-doc')).toMatchObject({ licences: [], copyright: undefined })
})

test('the licences of a copyright file are found by its fields, or by phrases of their texts', () => {
  const fields =
    'Format: https://www.debian.org/doc/\n\nFiles: *\nLicense: GPL-2+\n text\n\nFiles: a\nLicense: MIT or BSD\n\nLicense: GPL-2+\n'
  expect(licencesOf(fields)).toEqual(['GPL-2+', 'MIT or BSD'])
  expect(licencesOf('under the terms of the GNU Free\nDocumentation License. Some is in the public domain.')).toEqual([
    'GFDL',
    'public-domain',
  ])
  expect(licencesOf('Do what you like.')).toEqual([])
})
