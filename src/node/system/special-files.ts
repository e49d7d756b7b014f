/**
 * Refuses entries that a folder of files should not contain: pipes and devices, and where files are written also links,
 * and folders in place of files.
 */
import { readdir, readlink, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { RunError } from '../../core/errors.ts'
import { kindOf } from './read-text.ts'

/**
 * Refuses entries that keep a reader waiting: pipes, sockets and devices, and links to them.
 * @throws RunError with the path and the kind of the entry
 */
export async function refuseSpecialFiles(folder: string): Promise<void> {
  // A training may remove a checkpoint meanwhile. A folder that cannot be listed is reported when it is read.
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await refuseSpecialFiles(path)
    const target = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : entry
    if (target && !target.isFile() && !target.isDirectory())
      throw new RunError(`cannot read ${path}: it is ${kindOf(target)} (expected a file or folder)`)
  }
}

/**
 * Refuses folders where files are written.
 * @throws RunError with the path of the folder
 */
export async function refuseFolders(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const path = join(folder, name)
    const target = await stat(path).catch(() => undefined)
    if (target?.isDirectory())
      throw new RunError(
        `cannot write ${path}: it is a folder (expected a file: move the folder away, or restore the file)`,
      )
  }
}

/**
 * Refuses links: writing through a link changes a file somewhere else, which the sender of the folder may have chosen.
 * @throws RunError with the path of the link and its target
 */
export async function refuseLinks(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await refuseLinks(path)
    if (entry.isSymbolicLink())
      throw new RunError(
        `cannot write to ${path}: it is a link to ${await readlink(path)} (a training writes no file outside of its run: ` +
          'put the file or folder itself in its place)',
      )
  }
}
