/**
 * Gets packages from the archive of Debian for one build. They are extracted but not installed, so it needs no root.
 */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { option, RunError, UsageError, wording } from '../../core/errors.ts'
import { parseJson } from '../../core/text/json.ts'
import { joinWords } from '../../core/text/numbers.ts'
import { CONFIG_BYTES, readText } from '../../node/system/read-text.ts'
import { packagesIn } from './manifest.ts'
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
        wording`apt knows no package ${pattern}: run apt-get update, or leave it out with ${option('without', `'${pattern}'`)}`,
      )
    downloads.push({ name })
  }
  return downloads
}

/**
 * The package of each pattern in the version that an earlier corpus was made from.
 * @param file the manifest of that corpus, or another JSON file with its `packages`
 * @throws UsageError if the file is no such file, or has no package of a pattern
 * @throws RunError if apt does not have a version
 */
export async function packagesOfCorpus(
  file: string,
  patterns: readonly string[],
  signal?: AbortSignal,
): Promise<Download[]> {
  const listed = await readText(file, CONFIG_BYTES)
    .then((text) => packagesIn(parseJson(text)))
    .catch((error: Error) => {
      throw new UsageError(
        wording`invalid ${option('versions')}: cannot read ${JSON.stringify(file)}: ${error.message}. It names the .corpus.json of a corpus`,
      )
    })
  const downloads = patterns.map((pattern) => {
    const found = listed.find(({ name }) => matchesPackage(pattern, name))
    if (found) return found
    throw new UsageError(
      wording`invalid ${option('versions')}: ${JSON.stringify(file)} has no version of ${pattern}; leave the package out with ${option('without', `'${pattern}'`)}`,
    )
  })
  const known = await knownVersions(downloads, signal)
  const gone = downloads.map(inApt).filter((each) => !known.has(each))
  if (gone.length > 0)
    throw new RunError(
      `apt does not have ${joinWords(gone)}. Run apt-get update; if that does not help, the version has left the ` +
        'archive: snapshot.debian.org, as a source of apt, has all versions',
    )
  return downloads
}

/** A package as apt-get names it. */
const inApt = ({ name, version }: Download): string => (version === undefined ? name : `${name}=${version}`)

/** All versions of the packages that apt has, as `name=version`. */
async function knownVersions(packages: readonly Download[], signal?: AbortSignal): Promise<Set<string>> {
  const rows = await runProgram(['apt-cache', 'madison', ...packages.map(({ name }) => name)], { missing: apt, signal })
  return new Set(
    rows.split('\n').map((row) => {
      const [name = '', version = ''] = row.split('|').map((cell) => cell.trim())
      return inApt({ name, version })
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
