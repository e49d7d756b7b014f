/** Refuses what no run writes: a pipe, socket or device in a run directory, which would keep its reader waiting. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { RunError } from '../errors.ts'
import { kindOf } from '../system/read-text.ts'

/** @throws RunError with the path and what it is, also for a link to such a thing */
export async function refuseSpecialFiles(directory: string): Promise<void> {
  // A running training may remove a checkpoint meanwhile, and what cannot be listed is reported by whom it concerns.
  for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) await refuseSpecialFiles(path)
    const target = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : entry
    if (target && !target.isFile() && !target.isDirectory())
      throw new RunError(`cannot read ${path}: it is ${kindOf(target)} (a run directory has files and folders alone)`)
  }
}
