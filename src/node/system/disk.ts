/**
 * File system operations beyond reading and writing: changes that survive a power cut, atomic
 * replacement of files, checksums, and readable errors for failed writes.
 */
import { createHash, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { link, mkdir, open, rename, rm, rmdir, stat, statfs, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { RunError, type Wording, wording } from '../../core/errors.ts'
import { bytes } from '../../core/text/numbers.ts'
import { filePieces } from './file-pieces.ts'

/** The code of a system error, e.g. `ENOENT`; undefined for any other error. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}

/**
 * A readable error for a failed write. A full disk or quota is named, with the free space where the
 * system reports it.
 * @param action The action that failed, e.g. `write checkpoint runs/a/checkpoints/step-00000500`.
 * @param needed Total bytes of the write, if known.
 * @param advice What to do next; a full sentence.
 */
export async function writeError(
  action: string,
  folder: string,
  error: unknown,
  needed: number | undefined,
  advice: string | Wording,
): Promise<RunError> {
  const code = errorCode(error)
  const cause = { cause: error }
  if (code !== 'ENOSPC' && code !== 'EDQUOT') {
    const message = error instanceof Error ? error.message : String(error)
    return new RunError(wording`cannot ${action}: ${message}. ${advice}`, cause)
  }
  const disk = await statfs(folder).catch(() => undefined)
  // A file system without a limit on the number of files reports 0 of 0.
  if (code === 'ENOSPC' && disk && disk.files > 0 && disk.ffree === 0)
    return new RunError(
      wording`cannot ${action}: the disk has no room for another file: all inodes are used. ${advice}`,
      cause,
    )
  const free = disk && disk.bavail * disk.bsize
  const full = code === 'ENOSPC' ? 'the disk is full' : 'the disk quota is used up'
  const sizes = [
    ...(needed === undefined ? [] : [`${bytes(needed)} needed`]),
    ...(free === undefined ? [] : [`${bytes(free)} free now`]),
  ]
  const size = sizes.length > 0 ? ` (${sizes.join(', ')})` : ''
  return new RunError(`cannot ${action}: ${full}${size}. ${advice}`, cause)
}

/** Bytes that this user may still write to the file system of a folder; undefined if the system does not report them. */
export async function freeBytes(folder: string): Promise<number | undefined> {
  const disk = await statfs(folder).catch(() => undefined)
  return disk && disk.bavail * disk.bsize
}

/**
 * Creates a folder and its parents one by one: Node's own `recursive` option hangs under /proc.
 * @returns The folders that did not exist, outermost first.
 */
export async function makeFolder(path: string): Promise<string[]> {
  if (existsSync(path)) return []
  const parents = dirname(path) === path ? [] : await makeFolder(dirname(path))
  try {
    await mkdir(path)
    return [...parents, path]
  } catch (error) {
    // Another process may create it at the same time.
    if (errorCode(error) !== 'EEXIST') throw error
    return parents
  }
}

/** Removes a file, if there is one. @throws RunError if it is a folder, or may not be removed */
export async function removeFile(path: string): Promise<void> {
  try {
    await rm(path, { force: true })
  } catch (error) {
    const isFolder = errorCode(error) === 'ERR_FS_EISDIR'
    const why = isFolder ? 'it is a folder, where a file is expected (move it away)' : (error as Error).message
    throw new RunError(`cannot remove ${path}: ${why}`)
  }
}

/** Removes folders that {@link makeFolder} has created, as far as they are empty. */
export async function removeEmptyFolders(created: readonly string[]): Promise<void> {
  for (const path of [...created].reverse()) await rmdir(path).catch(() => {})
}

/** Makes files created, renamed or removed in a folder survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  // Windows cannot open a folder to sync it; NTFS journals its folders itself.
  if (process.platform === 'win32') return
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Creates a file with its contents in one step, also on a network file system: no process sees a part of it, and if
 * several processes create it at once, exactly one succeeds. Returns false if the file exists.
 * @param draft A name in the same file system that no other process uses.
 */
export async function createFile(path: string, contents: string, draft: string): Promise<boolean> {
  try {
    await writeFile(draft, contents, { flush: true })
    await link(draft, path)
    return true
  } catch (error) {
    // A network file system may repeat a request whose answer was lost: then the existing file is this one.
    if (errorCode(error) === 'EEXIST') return (await stat(draft)).nlink === 2
    if (!lacksHardLinks(error)) throw error
  } finally {
    await rm(draft, { force: true })
  }
  try {
    await writeFile(path, contents, { flag: 'wx', flush: true })
    return true
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    throw error
  }
}

/** Whether an error comes from a file system without hard links, such as FAT and some network file systems. */
function lacksHardLinks(error: unknown): boolean {
  return ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL'].includes(errorCode(error) ?? '')
}

/**
 * Replaces a small file atomically: at any instant it has either the old or the new contents.
 * @param temporary A name in the same file system. If several processes replace the file, each needs its own name.
 */
export async function replaceFile(
  path: string,
  contents: string | Uint8Array,
  temporary = `${path}.tmp`,
): Promise<void> {
  try {
    await createTemporary(temporary, contents)
    await rename(temporary, path)
    await syncFolder(dirname(path))
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw await writeError(`write ${path}`, dirname(path), error, Buffer.byteLength(contents), 'The file is unchanged.')
  }
}

/**
 * Replaces a file that several processes may write at once, with a draft that no other process has. A process that is
 * killed leaves its draft.
 */
export const replaceShared = (path: string, contents: string | Uint8Array): Promise<void> =>
  replaceFile(path, contents, `${path}.${randomUUID()}.tmp`)

/** Creates a file, never through a link. A file of that name, which a killed process left, is removed. */
async function createTemporary(path: string, contents: string | Uint8Array): Promise<void> {
  const create = () => writeFile(path, contents, { flag: 'wx', flush: true })
  try {
    await create()
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error
    await rm(path)
    await create()
  }
}

/** SHA-256 of a file in hexadecimal. */
export async function checksum(
  path: string,
  signal?: AbortSignal,
  onBytes: (bytes: number) => void = () => {},
): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of filePieces(path, 0, signal)) {
    hash.update(piece)
    onBytes(piece.length)
  }
  return hash.digest('hex')
}
