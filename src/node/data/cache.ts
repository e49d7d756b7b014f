/**
 * Cache of derived files that can be rebuilt at any time.
 *
 * An entry is built in a temporary folder, given a manifest of sizes and SHA-256 sums, and renamed into
 * place. So it is either complete or absent, even if several processes build it at once. It is checked
 * against its manifest each time it is opened.
 */
import { mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir, platform, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { RunError } from '../../core/errors.ts'
import { Progress } from '../../train/data/streams/progress.ts'
import { checksum, errorCode, makeFolder } from '../system/disk.ts'
import { makeTemporaryFolder, sweepLeftovers } from '../system/temporary-folders.ts'

export interface Cache {
  readonly root: string
  /** Finds or builds an entry and returns its folder. `what` names it in messages. */
  entry(key: string, what: string, build: (folder: string) => Promise<void>): Promise<string>
  /** Creates a temporary folder on the same disk, which `close` removes. */
  scratch(): Promise<string>
  close(): Promise<void>
}

const manifestName = 'manifest.json'
const manifestSchema = z.object({ files: z.record(z.string(), z.object({ bytes: z.int(), sha256: z.string() })) })

/**
 * Opens the cache in `folder`, by default the user's cache folder. If it is not writable, warns and uses
 * a temporary folder that `close` removes.
 * @param report Receives warnings and messages about progress.
 */
export async function openCache(
  folder: string | undefined,
  report: (message: string) => void,
  signal?: AbortSignal,
): Promise<Cache> {
  const requested = folder ?? userCache()
  const temporary: string[] = []
  let root = requested
  try {
    await makeFolder(resolve(requested))
    temporary.push(await makeTemporaryFolder(requested, 'scratch'))
    await sweepLeftovers(requested)
  } catch (error) {
    const { message } = error as Error
    root = await mkdtemp(join(tmpdir(), 'choir-')).catch((second: Error) => {
      throw new RunError(
        `cannot write the token cache ${requested} (${message}), nor a temporary folder (${second.message}); ` +
          'set data.cache to a folder with space that can be written',
      )
    })
    temporary.push(root)
    report(`cannot write the token cache ${requested} (${message}); using ${root} for this run only`)
  }
  return {
    root,
    entry: (key, what, build) => findOrBuild(root, key, what, build, report, signal),
    async scratch() {
      const folder = await onFullDisk(root, 'tokens', () => makeTemporaryFolder(root, 'scratch'))
      temporary.push(folder)
      return folder
    },
    async close() {
      for (const made of temporary.splice(0)) await rm(made, { recursive: true, force: true })
    },
  }
}

/** Removes temporary folders of ended processes from the user's cache folder. */
export function sweepCache(): Promise<void> {
  return sweepLeftovers(userCache())
}

/** The folder of this user for files that can be made again. */
export function userCache(): string {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env
  if (XDG_CACHE_HOME) return join(XDG_CACHE_HOME, 'choir')
  if (platform() === 'win32') return join(LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'choir', 'cache')
  if (platform() === 'darwin') return join(homedir(), 'Library', 'Caches', 'choir')
  return join(homedir(), '.cache', 'choir')
}

async function findOrBuild(
  root: string,
  key: string,
  what: string,
  build: (folder: string) => Promise<void>,
  report: (message: string) => void,
  signal: AbortSignal | undefined,
): Promise<string> {
  const place = join(root, key)
  const checking = (bytes: number) => new Progress(`checking the cached ${what}`, bytes, report, 'bytes')
  const fault = await check(place, signal, checking)
  if (fault === undefined) return place
  if (fault !== 'absent') report(`the cached ${what} in ${place} is damaged (${fault}); rebuilding it`)
  return onFullDisk(root, what, async () => {
    const building = await makeTemporaryFolder(root, 'building')
    try {
      await build(building)
      await writeManifest(building, signal)
      await moveIntoPlace(building, place)
    } finally {
      await rm(building, { recursive: true, force: true })
    }
    return place
  })
}

/** Runs `work`, which writes into the cache. @throws RunError if its disk or quota is full */
async function onFullDisk<T>(root: string, what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const code = errorCode(error)
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
    throw new RunError(`no space left in ${root} for the ${what}; free some, or set data.cache to a folder with more`)
  }
}

/** Renames `building` to `place`. If another process was first and its entry is intact, keeps that entry. */
async function moveIntoPlace(building: string, place: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await rename(building, place)
    } catch (error) {
      const fault = await check(place)
      if (fault === undefined) return
      if (attempt === 2) throw error
      // Rename a damaged entry before removing it, so that no process sees it half removed.
      if (fault !== 'absent') await rename(place, `${building}-damaged`).catch(() => {})
      await rm(`${building}-damaged`, { recursive: true, force: true })
    }
  }
}

async function writeManifest(folder: string, signal: AbortSignal | undefined): Promise<void> {
  const files: Record<string, { bytes: number; sha256: string }> = {}
  for (const name of (await readdir(folder)).sort())
    files[name] = { bytes: (await stat(join(folder, name))).size, sha256: await checksum(join(folder, name), signal) }
  await writeFile(join(folder, manifestName), `${JSON.stringify({ files }, null, 2)}\n`)
}

/**
 * The fault of an entry: undefined if the entry is intact, `absent` if it does not exist.
 * @param progressOf Makes the progress of reading a number of bytes.
 */
async function check(
  folder: string,
  signal?: AbortSignal,
  progressOf?: (bytes: number) => Progress,
): Promise<string | undefined> {
  let text: string
  try {
    await stat(folder)
  } catch {
    return 'absent'
  }
  try {
    text = await readFile(join(folder, manifestName), 'utf8')
    const { files } = manifestSchema.parse(JSON.parse(text))
    const progress = progressOf?.(Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0))
    for (const [name, { bytes, sha256: sum }] of Object.entries(files)) {
      const { size } = await stat(join(folder, name))
      if (size !== bytes) return `${name} has ${size} bytes instead of ${bytes}`
      const found = await checksum(join(folder, name), signal, (read) => progress?.add(read))
      if (found !== sum) return `${name} has changed`
    }
    return undefined
  } catch (error) {
    signal?.throwIfAborted()
    return error instanceof z.ZodError || error instanceof SyntaxError
      ? `${manifestName} is unreadable`
      : (error as Error).message
  }
}
