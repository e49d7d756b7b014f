/**
 * Reads confined to a folder. A run directory may come from anywhere, and its links may lead anywhere: a file is
 * opened only if its real path is below the root that the user named, and only if it is a plain file (a pipe would
 * block, a device might never end).
 */
import { constants } from 'node:fs'
import { type FileHandle, open, realpath } from 'node:fs/promises'
import { sep } from 'node:path'
import { option, UsageError, wording } from '../../../core/errors.ts'
import { errorCode } from '../../../node/system/disk.ts'

/** Whether the real path of `path` is one of `roots` (real paths) or below one; undefined if `path` does not exist. */
export async function isWithin(roots: readonly string[], path: string): Promise<boolean | undefined> {
  const real = await realpath(path).catch(() => undefined)
  return real === undefined ? undefined : roots.some((root) => real === root || isInside(root, real))
}

/** Opens a plain file whose real path is below `root` (a real path); undefined if there is none. */
export async function openInside(root: string, path: string): Promise<FileHandle | undefined> {
  let handle: FileHandle | undefined
  try {
    const real = await realpath(path)
    if (!isInside(root, real)) return undefined
    handle = await open(real, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0))
    if ((await handle.stat()).isFile()) return handle
  } catch {
    // A file that cannot be opened counts as missing, whatever the reason; the run reports what it lacks.
  }
  await handle?.close()
  return undefined
}

/** Reads up to `limit` bytes from `start` of a plain file below `root`; undefined if there is none. */
export async function readInside(root: string, path: string, limit: number, start = 0): Promise<Buffer | undefined> {
  const handle = await openInside(root, path)
  if (!handle) return undefined
  try {
    const bytes = Buffer.allocUnsafe(Math.min(limit, Math.max(0, (await handle.stat()).size - start)))
    let length = 0
    while (length < bytes.length) {
      const { bytesRead } = await handle.read(bytes, length, bytes.length - length, start + length)
      if (bytesRead === 0) break
      length += bytesRead
    }
    return bytes.subarray(0, length)
  } catch {
    return undefined
  } finally {
    await handle.close()
  }
}

function isInside(root: string, real: string): boolean {
  return real.startsWith(root.endsWith(sep) ? root : root + sep)
}

/** The real path. @throws UsageError if there is none */
export async function realDataPath(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    // Folders of runs have been checked before, so this path is from --data.
    const why = errorCode(error) === 'ENOENT' ? 'there is no such file or folder' : (error as Error).message
    throw new UsageError(wording`invalid ${option('data')}: "${path}" (${why})`)
  }
}
