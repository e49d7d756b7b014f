/**
 * Folders of derived files that can always be made again.
 *
 * An entry is built in a folder of its own beside its place, given a manifest of sizes and SHA-256
 * sums, and renamed into place: it is there whole or not at all, whoever else builds it at the same
 * time. It is checked against its manifest whenever it is opened.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir, platform, tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { RunError } from '../errors.ts'
import { makePassing, sweepLeftovers } from '../system/leftovers.ts'

export interface Cache {
  readonly root: string
  /** Builds or finds an entry and gives its folder. `what` names it in messages. */
  entry(key: string, what: string, build: (folder: string) => Promise<void>): Promise<string>
  /** A new folder for passing files, on the same disk; removed by `close`. */
  scratch(): Promise<string>
  close(): Promise<void>
}

const manifestName = 'manifest.json'
const manifestSchema = z.object({ files: z.record(z.string(), z.object({ bytes: z.int(), sha256: z.string() })) })

/**
 * Opens the cache in `folder`, by default the user's cache folder. Where that cannot be written, says
 * so and uses a temporary folder that `close` removes.
 */
export async function openCache(folder: string | undefined, warn: (message: string) => void): Promise<Cache> {
  const wanted = folder ?? userCache()
  const passing: string[] = []
  let root = wanted
  try {
    await mkdir(wanted, { recursive: true })
    passing.push(await makePassing(wanted, 'scratch'))
    await sweepLeftovers(wanted)
  } catch (error) {
    root = await mkdtemp(join(tmpdir(), 'choir-'))
    passing.push(root)
    warn(`cannot write the token cache ${wanted} (${(error as Error).message}); using ${root} for this run only`)
  }
  return {
    root,
    entry: (key, what, build) => entry(root, key, what, build, warn),
    async scratch() {
      const made = await makePassing(root, 'scratch')
      passing.push(made)
      return made
    },
    async close() {
      for (const made of passing.splice(0)) await rm(made, { recursive: true, force: true })
    },
  }
}

/** Removes from the user's cache folder what processes left there that have ended. */
export function sweepCache(): Promise<void> {
  return sweepLeftovers(userCache())
}

function userCache(): string {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env
  if (XDG_CACHE_HOME) return join(XDG_CACHE_HOME, 'choir')
  if (platform() === 'win32') return join(LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'choir', 'cache')
  if (platform() === 'darwin') return join(homedir(), 'Library', 'Caches', 'choir')
  return join(homedir(), '.cache', 'choir')
}

async function entry(
  root: string,
  key: string,
  what: string,
  build: (folder: string) => Promise<void>,
  warn: (message: string) => void,
): Promise<string> {
  const place = join(root, key)
  const fault = await check(place)
  if (fault === undefined) return place
  if (fault !== 'absent') warn(`the cached ${what} in ${place} is damaged (${fault}); making it again`)
  const building = await makePassing(root, 'building')
  try {
    await build(building)
    await writeManifest(building)
    await moveIntoPlace(building, place)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOSPC' || code === 'EDQUOT')
      throw new RunError(`no space left in ${root} for the ${what}; free some, or set data.cache to a folder with more`)
    throw error
  } finally {
    await rm(building, { recursive: true, force: true })
  }
  return place
}

/** Renames `building` to `place`. Another process may have been first: its entry is as good, if sound. */
async function moveIntoPlace(building: string, place: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await rename(building, place)
    } catch (error) {
      const fault = await check(place)
      if (fault === undefined) return
      if (attempt === 2) throw error
      // A damaged entry, moved away under a name of our own so that nobody sees it half removed.
      if (fault !== 'absent') await rename(place, `${building}-damaged`).catch(() => {})
      await rm(`${building}-damaged`, { recursive: true, force: true })
    }
  }
}

async function writeManifest(folder: string): Promise<void> {
  const files: Record<string, { bytes: number; sha256: string }> = {}
  for (const name of (await readdir(folder)).sort())
    files[name] = { bytes: (await stat(join(folder, name))).size, sha256: await sha256(join(folder, name)) }
  await writeFile(join(folder, manifestName), `${JSON.stringify({ files }, null, 2)}\n`)
}

/** What is wrong with an entry: undefined when it is sound, `absent` when there is none. */
async function check(folder: string): Promise<string | undefined> {
  let text: string
  try {
    await stat(folder)
  } catch {
    return 'absent'
  }
  try {
    text = await readFile(join(folder, manifestName), 'utf8')
    const { files } = manifestSchema.parse(JSON.parse(text))
    for (const [name, { bytes, sha256: sum }] of Object.entries(files)) {
      const { size } = await stat(join(folder, name))
      if (size !== bytes) return `${name} has ${size} bytes instead of ${bytes}`
      if ((await sha256(join(folder, name))) !== sum) return `${name} has changed`
    }
    return undefined
  } catch (error) {
    return error instanceof z.ZodError || error instanceof SyntaxError
      ? `${manifestName} is unreadable`
      : (error as Error).message
  }
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  return hash.digest('hex')
}
