/**
 * Three packages hold native libraries for every platform in one tarball. This file finds the libraries of other
 * platforms, which a machine never loads.
 */
import { existsSync, lstatSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { RunError } from '../../core/errors.ts'

/** A package, and the paths of its libraries. */
interface NativePackage {
  readonly name: string
  /** Matches paths of libraries inside the package, with platform and architecture; `universal` is any architecture. */
  readonly library: RegExp
}

const packages: readonly NativePackage[] = [
  { name: 'onnxruntime-node', library: /^bin\/napi-v\d+\/(?<platform>\w+)\/(?<architecture>\w+)$/ },
  { name: 'webgpu', library: /^dist\/(?<platform>\w+)-(?<architecture>\w+)$/ },
  { name: 'tokenizers', library: /^tokenizers\.(?<platform>\w+)-(?<architecture>\w+)(-\w+)?\.node$/ },
]

/** Files and folders of one package for other platforms. */
export interface ForeignLibraries {
  readonly package: string
  readonly paths: readonly string[]
  readonly bytes: number
}

/**
 * Libraries of other platforms in the packages that Choir loads. A package without a library for this platform is
 * left out: the names of its libraries may have changed.
 * @param folderOf Folder of an installed package; undefined if it is not installed
 */
export function foreignLibraries(
  platform: string = process.platform,
  architecture: string = process.arch,
  folderOf: (name: string) => string | undefined = installedFolder,
): ForeignLibraries[] {
  return packages.flatMap(({ name, library }) => {
    const folder = folderOf(name)
    if (folder === undefined) return []
    const found = entries(folder, 4).flatMap((path) => {
      const { platform, architecture } = library.exec(path)?.groups ?? {}
      return platform && architecture ? [{ path: join(folder, path), platform, architecture }] : []
    })
    const isNative = (one: (typeof found)[number]) =>
      one.platform === platform && [architecture, 'universal'].includes(one.architecture)
    const foreign = found.filter((one) => !isNative(one))
    if (foreign.length === 0 || foreign.length === found.length) return []
    const paths = foreign.map(({ path }) => path)
    return [{ package: name, paths, bytes: paths.reduce((sum, path) => sum + bytesOf(path), 0) }]
  })
}

/** Deletes libraries of other platforms. @throws RunError if one cannot be deleted */
export function deleteLibraries(libraries: readonly ForeignLibraries[]): void {
  for (const { paths } of libraries)
    for (const path of paths)
      try {
        rmSync(path, { recursive: true, force: true })
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        throw new RunError(`cannot delete ${path}: ${reason} (run as the user who installed Choir)`)
      }
}

function installedFolder(name: string): string | undefined {
  const paths = createRequire(import.meta.url).resolve.paths(name) ?? []
  return paths.map((path) => join(path, name)).find((folder) => existsSync(join(folder, 'package.json')))
}

/** Paths below `folder`, with slashes, down to a depth. */
function entries(folder: string, depth: number, prefix = ''): string[] {
  if (depth === 0) return []
  return readdirSync(join(folder, prefix), { withFileTypes: true }).flatMap((entry) => {
    const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`
    return entry.isDirectory() ? [path, ...entries(folder, depth - 1, path)] : [path]
  })
}

function bytesOf(path: string): number {
  const status = lstatSync(path)
  if (!status.isDirectory()) return status.size
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0)
}
