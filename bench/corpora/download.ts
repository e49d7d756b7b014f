/**
 * Gets packages from the archive of Debian for one build. They are extracted but not installed, so it needs no root.
 */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { option, RunError, UsageError, type Wording, wording } from '../../src/core/errors.ts'
import { joinWords } from '../../src/core/text/numbers.ts'
import type { Origin } from './manifest.ts'
import { runProgram } from './programs.ts'
import { matchesPackage, newestMatch } from './recipe.ts'

const apt = wording`packages are downloaded with apt-get, so on Debian and its derivatives; elsewhere name a folder with ${option('root')}`

/** A package of the archive, in the version that apt would install if none is named. */
export interface Download {
  readonly name: string
  readonly version?: string
}

/**
 * The newest package of each pattern that apt knows.
 * @throws RunError if it knows none
 */
export async function newestPackages(patterns: readonly string[], signal?: AbortSignal): Promise<Download[]> {
  const downloads: Download[] = []
  for (const pattern of patterns) {
    const known = await runProgram(['apt-cache', 'pkgnames', pattern.replace(/\*.*$/, '')], { missing: apt, signal })
    const name = newestMatch(pattern, known.split('\n'))
    if (name === undefined)
      throw new RunError(
        wording`apt knows no package ${pattern}: run apt-get update, or leave it out with ${leavingOut([pattern])}`,
      )
    downloads.push({ name })
  }
  return downloads
}

/**
 * The package of each pattern in the version that a corpus was made from.
 * @param file the file with this origin, for messages
 * @throws UsageError if it has no version of a package
 */
export function versionsOf(origin: Origin, file: string, patterns: readonly string[]): Required<Download>[] {
  const found = patterns.map((pattern) => origin.packages.find(({ name }) => matchesPackage(pattern, name)))
  const missing = patterns.filter((_, i) => !found[i]?.version)
  if (missing.length > 0)
    throw new UsageError(
      wording`invalid ${option('versions')}: ${JSON.stringify(file)} has no version of ${joinWords(missing)}; leave out with ${leavingOut(missing)}`,
    )
  return found as Required<Download>[]
}

/** @throws RunError if apt does not have a version, before anything is downloaded */
export async function expectInArchive(packages: readonly Download[], signal?: AbortSignal): Promise<void> {
  const known = await knownVersions(packages, signal)
  const gone = packages.map(inApt).filter((each) => !known.has(each))
  if (gone.length === 0) return
  const named = gone.length > NAMED ? [...gone.slice(0, NAMED), `${gone.length - NAMED} more`] : gone
  throw new RunError(
    `apt does not have ${joinWords(named)}. Run apt-get update; a version that is missing afterwards has left the ` +
      'archive, and snapshot.debian.org, as a source of apt, has it',
  )
}

/** Versions that a message names at most. */
const NAMED = 5

/** A package as apt-get names it. */
const inApt = ({ name, version }: Download): string => (version === undefined ? name : `${name}=${version}`)

/** All versions of the packages that apt has in binary form, as `name=version`. */
async function knownVersions(packages: readonly Download[], signal?: AbortSignal): Promise<Set<string>> {
  const rows = await runProgram(['apt-cache', 'madison', ...packages.map(({ name }) => name)], { missing: apt, signal })
  return new Set(
    rows.split('\n').flatMap((row) => {
      const [name = '', version = '', source = ''] = row.split('|').map((cell) => cell.trim())
      return source.endsWith(' Sources') ? [] : [inApt({ name, version })]
    }),
  )
}

/**
 * Downloads packages and extracts each into a folder of its own below `root`.
 * @throws RunError if apt has no connection
 */
export async function downloadPackages(
  packages: readonly Download[],
  root: string,
  onProgress: (name: string, done: number, total: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  for (const [i, each] of packages.entries()) {
    const { name } = each
    onProgress(name, i, packages.length)
    const debs = join(root, '.debs', name)
    mkdirSync(debs, { recursive: true })
    await runProgram(['apt-get', 'download', inApt(each)], { folder: debs, missing: apt, signal })
    const [deb] = readdirSync(debs).filter((file) => file.endsWith('.deb'))
    if (deb === undefined) throw new RunError(`apt-get download ${inApt(each)} gave no package`)
    const folder = join(root, name)
    await runProgram(['dpkg-deb', '--raw-extract', join(debs, deb), folder], { missing: apt, signal })
  }
}

/** The options that leave packages out, for messages. */
export const leavingOut = (patterns: readonly string[]): Wording =>
  patterns.flatMap(
    (pattern, i) => wording`${i > 0 ? ' ' : ''}${option('without', pattern.includes('*') ? `'${pattern}'` : pattern)}`,
  )
