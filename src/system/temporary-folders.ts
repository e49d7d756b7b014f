/**
 * Temporary folders inside a cache that several processes share. Their names identify the owning process, because a
 * process that is killed leaves its folders behind: the next sweep removes those and keeps those of living processes.
 */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isRunning, machineId } from './process-identity.ts'

const namePattern = /^\.(?:scratch|building)-(?:([0-9a-f]{8})-(\d+)-)?/

/** Age at which a folder is removed if its owner cannot be checked: another machine, an earlier boot, or none named. */
const STALE_MS = 48 * 3600 * 1000

/** Creates a folder in `root` that belongs to this process. */
export function makeTemporaryFolder(root: string, kind: 'scratch' | 'building'): Promise<string> {
  return mkdtemp(join(root, `.${kind}-${machineId()}-${process.pid}-`))
}

/** Removes folders that dead processes left in `root`. Folders that cannot be removed are skipped. */
export async function sweepLeftovers(root: string): Promise<void> {
  for (const name of await readdir(root).catch(() => [])) {
    const path = join(root, name)
    if (await isLeftover(name, path).catch(() => false))
      await rm(path, { recursive: true, force: true }).catch(() => {})
  }
}

async function isLeftover(name: string, path: string): Promise<boolean> {
  const match = namePattern.exec(name)
  if (!match) return false
  const [, owner, pid] = match
  if (owner === machineId()) return !(await isRunning(Number(pid), null))
  return Date.now() - (await stat(path)).mtimeMs > STALE_MS
}
