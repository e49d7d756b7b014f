/**
 * Finds the files of a folder and its subfolders. Hidden files and folders are left out, as most programs that search
 * folders do. Links are followed. All other entries that are not read are listed as skipped.
 */
import { readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isHidden, isPackages } from '../../../train/data/sources/source-file.ts'
import type { Skipped } from '../../../train/data/sources/unreadable.ts'
import { errorCode } from '../../system/disk.ts'
import { kindOf } from '../../system/read-text.ts'

export interface FolderFile {
  readonly path: string
  /** Path in the folder, separated by `/`. */
  readonly name: string
}

export interface FolderFiles {
  readonly files: FolderFile[]
  readonly skipped: Skipped[]
}

/**
 * Finds the files of a folder. A subfolder that cannot be read is listed as skipped.
 * @throws Error of the file system if the folder itself cannot be read
 */
export async function filesInFolder(folder: string, signal?: AbortSignal): Promise<FolderFiles> {
  const found: FolderFiles = { files: [], skipped: [] }
  await visit({ path: folder, name: '' }, [await realpath(folder)], found, signal)
  return found
}

/** @param around Real paths of the folders from the outermost to `folder` itself. */
async function visit(
  folder: FolderFile,
  around: readonly string[],
  found: FolderFiles,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const entry of await readdir(folder.path, { withFileTypes: true })) {
    signal?.throwIfAborted()
    if (isHidden(entry.name)) continue
    const name = folder.name === '' ? entry.name : `${folder.name}/${entry.name}`
    const skip = (reason: Skipped['reason'], detail = ''): void => void found.skipped.push({ name, reason, detail })
    const path = join(folder.path, entry.name)
    try {
      const target = entry.isSymbolicLink() ? await stat(path) : entry
      if (target.isFile()) found.files.push({ path, name })
      else if (!target.isDirectory()) skip('special', kindOf(target))
      else if (isPackages(entry.name)) skip('packages')
      else {
        const real = await realpath(path)
        if (around.includes(real)) skip('loop')
        else await visit({ path, name }, [...around, real], found, signal)
      }
    } catch (error) {
      signal?.throwIfAborted()
      skip('access', errorCode(error) ?? (error as Error).message)
    }
  }
}
