/**
 * Creates the folder of a corpus from packages. It finds or downloads them, builds the corpus beside the folder, and
 * moves the result into place at last, so that a killed process leaves no half corpus.
 */
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { option, RunError, UsageError, wording } from '../../src/core/errors.ts'
import { nearestName } from '../../src/core/text/nearest.ts'
import { joinWords } from '../../src/core/text/numbers.ts'
import { makeFolder, removeEmptyFolders, syncFolder, writeError } from '../../src/node/system/disk.ts'
import { CONFIG_BYTES, readText } from '../../src/node/system/read-text.ts'
import { makeTemporaryFolder, sweepLeftovers } from '../../src/node/system/temporary-folders.ts'
import { type BuildProgress, buildCorpus } from './build.ts'
import { downloadPackages, expectInArchive, leavingOut, newestPackages, versionsOf } from './download.ts'
import { isWhole, type Manifest, type Origin, parseOrigin, readManifest } from './manifest.ts'
import { type Package, Packages } from './packages.ts'
import { matchesPackage, packagesOf, type Recipe } from './recipe.ts'
import { packageNotes, recipes } from './recipes.ts'

export interface CorpusOptions {
  /** The root of a system, or a folder with one subfolder for each extracted package; default: `/`. */
  readonly root?: string
  /** Whether to download the packages with apt-get instead; they are removed at the end. */
  readonly download?: boolean
  /** The manifest of an earlier corpus, `.corpus.json`, whose versions of packages are downloaded instead of the newest. */
  readonly versions?: string
  /** Packages to leave out, by their names or as the recipe has them. */
  readonly without?: readonly string[]
  /** Whether to replace another corpus in the folder. */
  readonly force?: boolean
  readonly onProgress?: (progress: CorpusProgress) => void
  readonly signal?: AbortSignal
}

export type CorpusProgress =
  | ({ readonly kind: 'read' } & BuildProgress)
  | { readonly kind: 'download'; readonly package: string; readonly done: number; readonly total: number }

export interface CorpusReport {
  readonly folder: string
  /** Whether the folder had this corpus already, and was not changed. */
  readonly isUnchanged: boolean
  readonly manifest: Manifest
  /** Hash of the text of the corpus whose versions were asked for, if that was made of the same packages. */
  readonly expectedSha256?: string
}

/**
 * @param name name of the recipe
 * @throws UsageError for an unknown recipe or package, and if the folder holds something else
 * @throws RunError if packages are missing, or cannot be downloaded or read
 */
export async function createCorpus(name: string, out: string, options: CorpusOptions = {}): Promise<CorpusReport> {
  const { download, versions, force, onProgress = () => {}, signal } = options
  const recipe = recipeOf(name)
  const without = leftOut(recipe, options.without ?? [])
  const patterns = packagesOf(recipe).filter((pattern) => !without.includes(pattern))
  if (versions !== undefined && !download)
    throw new UsageError(wording`${option('versions')} needs ${option('download')}`)
  const origin = versions === undefined ? undefined : await readOrigin(versions)
  const wanted = origin && versionsOf(origin, versions as string, patterns)
  const isOfSame = origin?.recipe === recipe.name && origin.without?.join() === without.join()
  const expected = isOfSame && origin.sha256 !== undefined ? { expectedSha256: origin.sha256 } : {}
  const folder = resolve(out)
  const existing = expectReplaceable(out, folder)
  const isKnownBefore = wanted !== undefined || !download
  if (existing && !force && isKnownBefore) {
    // The same recipe on the same packages gives the same bytes, so the result is known before the work.
    const found = wanted ?? [...findPackages(patterns, options.root ?? '/', recipe).values()]
    if (isSame(existing, recipe, without, found) && (await isWhole(folder, existing)))
      return { folder, isUnchanged: true, manifest: existing, ...expected }
  }
  if (existing && !force) {
    const difference = !isKnownBefore ? '' : ', from another recipe, other packages or changed files'
    throw new UsageError(
      wording`invalid ${option('out')}: ${JSON.stringify(out)} holds the corpus ${existing.recipe}${difference} ${wording`(expected a new folder; ${option('force')} replaces it)`}`,
    )
  }
  const parent = dirname(folder)
  const created = await makeFolder(parent)
  try {
    await sweepLeftovers(parent)
    const building = await makeTemporaryFolder(parent, 'building')
    try {
      const manifest = await build(building)
      await replace(folder, join(building, 'corpus'), join(building, 'old'))
      return { folder, isUnchanged: false, manifest, ...expected }
    } finally {
      await rm(building, { recursive: true, force: true })
    }
  } catch (error) {
    await removeEmptyFolders(created)
    signal?.throwIfAborted()
    if (error instanceof RunError || error instanceof UsageError) throw error
    throw await writeError(`build ${out}`, parent, error, undefined, 'Nothing was written there.')
  }

  async function build(building: string): Promise<Manifest> {
    const [corpus, scratch, downloads] = ['corpus', 'scratch', 'packages'].map((each) => join(building, each)) as [
      string,
      string,
      string,
    ]
    for (const path of [corpus, scratch, downloads]) mkdirSync(path)
    if (download) {
      if (wanted) await expectInArchive(wanted, signal)
      await downloadPackages(
        wanted ?? (await newestPackages(patterns, signal)),
        downloads,
        (name, done, total) => onProgress({ kind: 'download', package: name, done, total }),
        signal,
      )
    }
    const found = findPackages(patterns, download ? downloads : (options.root ?? '/'), recipe)
    return buildCorpus(recipe, found, corpus, {
      without,
      scratch,
      onProgress: (progress) => onProgress({ kind: 'read', ...progress }),
      signal,
    })
  }
}

/** @throws UsageError */
function recipeOf(name: string): Recipe {
  const names = recipes.map((recipe) => recipe.name)
  const recipe = recipes.find((each) => each.name === name)
  if (recipe) return recipe
  const near = nearestName(name, names)
  throw new UsageError(
    `there is no recipe ${JSON.stringify(name)} (${near ? `did you mean "${near}"?` : `expected ${joinWords(names, 'or')}`})`,
  )
}

/** @throws UsageError */
async function readOrigin(file: string): Promise<Origin> {
  try {
    return parseOrigin(await readText(file, CONFIG_BYTES))
  } catch (error) {
    throw new UsageError(
      wording`invalid ${option('versions')}: cannot read ${JSON.stringify(file)}: ${(error as Error).message}. The .corpus.json in the folder of a corpus has its versions`,
    )
  }
}

/** The packages of a recipe that the user leaves out. @throws UsageError */
function leftOut(recipe: Recipe, without: readonly string[]): string[] {
  const patterns = packagesOf(recipe)
  const chosen = without.map((name) => {
    const pattern = patterns.find((each) => matchesPackage(each, name))
    if (pattern !== undefined) return pattern
    const near = nearestName(name, patterns)
    throw new UsageError(
      wording`invalid ${option('without')}: ${JSON.stringify(name)} is not a package of the recipe ${recipe.name}${
        near === undefined ? ' (without a recipe, the command lists them)' : ` (did you mean "${near}"?)`
      }`,
    )
  })
  if (patterns.every((pattern) => chosen.includes(pattern)))
    throw new UsageError(wording`invalid ${option('without')}: no package of the recipe ${recipe.name} is left`)
  return patterns.filter((pattern) => chosen.includes(pattern))
}

/** The manifest of the corpus in a folder; undefined if there is no folder, or an empty one. @throws UsageError */
function expectReplaceable(out: string, folder: string): Manifest | undefined {
  const stats = statSync(folder, { throwIfNoEntry: false })
  if (!stats) return undefined
  if (!stats.isDirectory())
    throw new UsageError(wording`invalid ${option('out')}: ${JSON.stringify(out)} is a file (expected a new folder)`)
  const manifest = readManifest(folder)
  if (!manifest && readdirSync(folder).length > 0)
    throw new UsageError(
      wording`invalid ${option('out')}: ${JSON.stringify(out)} holds files that are no corpus (expected a new folder)`,
    )
  return manifest
}

/** Finds the packages of a recipe. @throws RunError with the command that gets the packages that are missing */
function findPackages(patterns: readonly string[], root: string, recipe: Recipe): Map<string, Package> {
  if (!existsSync(root))
    throw new UsageError(wording`invalid ${option('root')}: there is no folder ${JSON.stringify(root)}`)
  const packages = new Packages(root)
  const found = new Map<string, Package>()
  const missing: string[] = []
  for (const pattern of patterns) {
    const source = packages.find(pattern)
    if (source) found.set(pattern, source)
    else missing.push(pattern)
  }
  if (missing.length === 0) return found
  const names = missing.map((pattern) => packageNotes[pattern]?.known ?? pattern)
  const get =
    resolve(root) === '/'
      ? `sudo apt-get install --no-install-recommends ${names.join(' ')}`
      : `apt-get download ${names[0]} && dpkg-deb -R ${names[0]}_*.deb ${join(root, names[0] as string)}`
  throw new RunError(
    wording`recipe ${recipe.name}: ${missing.length === 1 ? 'a package is' : 'packages are'} missing in ${root}: ${joinWords(names)}. ${wording`Get ${missing.length === 1 ? 'it' : 'them'} with: ${get}; or add ${option('download')}, which needs no root`}${found.size === 0 ? '' : wording`; or leave out with ${leavingOut(missing)}`}`,
  )
}

/** Whether a corpus was made by the same recipe from the same packages, whose versions are all known. */
function isSame(
  manifest: Manifest,
  recipe: Recipe,
  without: readonly string[],
  found: readonly { readonly name: string; readonly version: string }[],
): boolean {
  const key = (packages: readonly { readonly name: string; readonly version: string }[]): string =>
    packages.map(({ name, version }) => `${name} ${version}`).join()
  return (
    manifest.recipe === recipe.name &&
    manifest.recipeVersion === recipe.version &&
    manifest.without.join() === without.join() &&
    key(manifest.packages) === key(found) &&
    found.every(({ version }) => version !== '')
  )
}

/** Moves a finished corpus into place. */
async function replace(folder: string, corpus: string, old: string): Promise<void> {
  if (existsSync(folder)) await rename(folder, old)
  await rename(corpus, folder)
  await syncFolder(dirname(folder))
}
