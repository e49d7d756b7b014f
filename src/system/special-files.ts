/** Refuses what keeps its reader waiting: a pipe, socket or device among the files of a folder, at any depth. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { RunError } from '../errors.ts'
import { kindOf } from './read-text.ts'

/** @throws RunError with the path and what it is, also for a link to such a thing */
export async function refuseSpecialFiles(folder: string): Promise<void> {
  // A training may remove a checkpoint meanwhile. What cannot be listed is reported by who reads it.
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await refuseSpecialFiles(path)
    const target = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : entry
    if (target && !target.isFile() && !target.isDirectory())
      throw new RunError(`cannot read ${path}: it is ${kindOf(target)} (expected a file or folder)`)
  }
}
