/**
 * Finds packages of Debian: installed packages by the database of dpkg, extracted ones (`dpkg -x`) by their folders.
 */
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { option, RunError, UsageError, wording } from '../../src/core/errors.ts'
import { newestMatch } from './recipe.ts'

export interface PackageFile {
  /** Path from the root, without a leading slash. */
  readonly name: string
  readonly path: string
}

export interface Package {
  /** Name of the package in the recipe. */
  readonly pattern: string
  readonly name: string
  /** Version of the package; empty if the package does not state it. */
  readonly version: string
  /** Names of the licences in the package's copyright file. */
  readonly licences: readonly string[]
  /** Path of the package's copyright file, if it has one. */
  readonly copyright: string | undefined
  /**
   * The regular files of the package whose names are wanted, in order of their names. Links are left out.
   * @throws RunError if one of them is missing on the disk
   */
  files(isWanted: (name: string) => boolean): readonly PackageFile[]
}

/**
 * The packages below a root. The root belongs to a system, or is a folder with one subfolder for each package,
 * extracted with `dpkg -x X.deb FOLDER/X`.
 */
export class Packages {
  private readonly root: string
  private readonly versions: ReadonlyMap<string, string> | undefined

  constructor(root: string) {
    this.root = resolve(root)
    if (!isFolder(this.root))
      throw new UsageError(wording`invalid ${option('root')}: ${JSON.stringify(root)} is a file (expected a folder)`)
    const status = join(this.root, 'var/lib/dpkg/status')
    this.versions = existsSync(status) ? installedVersions(readFileSync(status, 'utf8')) : undefined
  }

  /** The newest package that matches a name, which may have `*` in place of a version. */
  find(pattern: string): Package | undefined {
    const names = this.versions
      ? this.versions.keys()
      : readdirSync(this.root).filter((name) => isFolder(join(this.root, name)))
    const name = newestMatch(pattern, names)
    return name === undefined ? undefined : this.open(name, pattern)
  }

  private open(name: string, pattern: string): Package {
    const base = this.versions ? this.root : join(this.root, name)
    const documents = this.documents(base, name)
    const copyright = documents === undefined ? undefined : join(documents, 'copyright')
    const hasCopyright = copyright !== undefined && existsSync(copyright)
    return {
      pattern,
      name,
      version:
        this.versions?.get(name) ??
        controlVersion(base) ??
        (documents === undefined ? undefined : changelogVersion(documents)) ??
        '',
      licences: hasCopyright ? licencesOf(readFileSync(copyright, 'utf8')) : [],
      copyright: hasCopyright ? copyright : undefined,
      files: (isWanted) =>
        this.versions ? this.installed(name, isWanted) : filesBelow(base).filter((file) => isWanted(file.name)),
    }
  }

  /** The folder of a package's copyright file and changelog. It may be a link, such as `manpages-dev -> manpages`. */
  private documents(base: string, name: string): string | undefined {
    const folder = 'usr/share/doc'
    const own = join(base, folder, name)
    const stats = lstatSync(own, { throwIfNoEntry: false })
    if (!stats?.isSymbolicLink()) return stats ? own : undefined
    const other = basename(readlinkSync(own))
    const places = [base, join(this.root, other)].map((each) => join(each, folder, other))
    return places.find((place) => lstatSync(place, { throwIfNoEntry: false })?.isDirectory())
  }

  private installed(name: string, isWanted: (name: string) => boolean): PackageFile[] {
    const folder = join(this.root, 'var/lib/dpkg/info')
    const list = readdirSync(folder).find(
      (file) => file === `${name}.list` || (file.startsWith(`${name}:`) && file.endsWith('.list')),
    )
    if (list === undefined) throw new RunError(`package ${name}: ${folder} has no list of its files (reinstall it)`)
    const files: PackageFile[] = []
    let missing = 0
    for (const line of readFileSync(join(folder, list), 'utf8').split('\n')) {
      const file = line.replace(/^\//, '')
      if (!isWanted(file)) continue
      const path = join(this.root, file)
      const stats = lstatSync(path, { throwIfNoEntry: false })
      if (!stats) missing++
      else if (stats.isFile()) files.push({ name: file, path })
    }
    if (missing > 0)
      throw new RunError(
        wording`package ${name}: ${missing} of its files are missing. Images of containers leave out documentation (path-exclude in ${wording`/etc/dpkg/dpkg.cfg.d). Use ${option('download')}, or reinstall the package without that setting`}`,
      )
    return files.sort(byName)
  }
}

/** The regular files of a folder and its subfolders, in order of their names. */
export function filesBelow(base: string): PackageFile[] {
  const files: PackageFile[] = []
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(base, folder), { withFileTypes: true })) {
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (entry.isDirectory()) visit(name)
      else if (entry.isFile()) files.push({ name, path: join(base, name) })
    }
  }
  visit('')
  return files.sort(byName)
}

const byName = (a: PackageFile, b: PackageFile): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false

/** Versions of the installed packages in the status file of dpkg. */
function installedVersions(status: string): Map<string, string> {
  const versions = new Map<string, string>()
  for (const paragraph of status.split(/\n\n+/)) {
    const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(paragraph)?.[1]
    const name = field('Package')
    if (name !== undefined && / installed$/.test(field('Status') ?? '')) versions.set(name, field('Version') ?? '')
  }
  return versions
}

/** The version in the control file that `dpkg-deb --raw-extract` leaves. */
function controlVersion(folder: string): string | undefined {
  const path = join(folder, 'DEBIAN/control')
  return existsSync(path) ? /^Version: (.*)$/m.exec(readFileSync(path, 'utf8'))?.[1] : undefined
}

/** The version in the first line of a changelog, such as `git (1:2.47.3-0+deb13u1) trixie; urgency=medium`. */
function changelogVersion(folder: string): string | undefined {
  for (const name of ['changelog.Debian.gz', 'changelog.gz', 'changelog.Debian', 'changelog']) {
    const path = join(folder, name)
    if (!existsSync(path)) continue
    const bytes = readFileSync(path)
    const text = (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
    const version = /^\S+ \(([^)]+)\)/.exec(text)?.[1]
    if (version !== undefined) return version
  }
  return undefined
}

/** Phrases that identify the licences of a copyright file in free form. */
const phrases: readonly (readonly [RegExp, string])[] = [
  [/GNU Free Documentation License|GNU FDL/i, 'GFDL'],
  [/(?:Lesser|Library) General Public License/i, 'LGPL'],
  [/GNU General Public License/i, 'GPL'],
  [/Apache License/i, 'Apache'],
  [/Creative Commons/i, 'CC'],
  [/Artistic License/i, 'Artistic'],
  [/Python Software Foundation License|PSF LICENSE/i, 'PSF'],
  [/Permission is hereby granted, free of charge/i, 'MIT'],
  [/Redistribution and use in source and binary forms/i, 'BSD'],
  [/public domain/i, 'public-domain'],
]

/**
 * The licences in a copyright file, each once: from its fields if it has the machine-readable format, otherwise by the
 * phrases in its text. Empty if it has no known phrase.
 */
export function licencesOf(copyright: string): string[] {
  // https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
  if (/^Format:/im.test(copyright)) {
    const names = [...copyright.matchAll(/^License:[ \t]*(\S.*)$/gim)].map((match) => (match[1] as string).trim())
    return [...new Set(names)]
  }
  const joined = copyright.replace(/\s+/g, ' ')
  return phrases.filter(([phrase]) => phrase.test(joined)).map(([, name]) => name)
}
