/**
 * Temporary folders inside a cache that several processes share. Their names identify the owning process, because a
 * process that is killed leaves its folders behind: the next sweep removes them and keeps folders of living processes.
 */
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isRunning, machineId, processStart } from './process-identity.ts'

/** A name has the owner's machine, its process id, and the start of the process, which earlier versions left out. */
const namePattern = /^\.(?:scratch|building)-(?:([0-9a-f]{8})-(\d+)-)?(?:([0-9a-f]{8})-)?/

/**
 * Age at which a folder is removed if its owner cannot be checked, because it is on another machine, from an earlier
 * boot, or not named.
 */
const STALE_MS = 48 * 3600 * 1000

/** Creates a folder in `root` that belongs to this process. */
export async function makeTemporaryFolder(root: string, kind: 'scratch' | 'building'): Promise<string> {
  const { pid } = process
  return mkdtemp(join(root, `.${kind}-${machineId()}-${pid}-${startMark(await processStart(pid))}`))
}

/** Mark of the start of a process in a name: in a container that is restarted, the next process has the same id. */
const startMark = (start: string | null): string =>
  start === null ? '' : `${createHash('sha256').update(start).digest('hex').slice(0, 8)}-`

/** The name of every folder that {@link makeTemporaryFolder} creates where the system reports the start of a process. */
const fullName = /^\.(?:scratch|building)-[0-9a-f]{8}-\d+-[0-9a-f]{8}-[A-Za-z0-9]{6}$/

/**
 * Removes folders that dead processes left in `root`. Folders that cannot be removed are skipped.
 * @param isShared Whether users have folders of their own in `root`: then only folders whose name nobody would choose are
 *   removed.
 */
export async function sweepLeftovers(root: string, { isShared = false } = {}): Promise<void> {
  for (const name of await readdir(root).catch(() => [])) {
    if (isShared && !fullName.test(name)) continue
    const path = join(root, name)
    if (await isLeftover(name, path).catch(() => false))
      await rm(path, { recursive: true, force: true }).catch(() => {})
  }
}

async function isLeftover(name: string, path: string): Promise<boolean> {
  const match = namePattern.exec(name)
  if (!match) return false
  const [, owner, pid, start] = match
  if (owner === machineId()) {
    const mark = start === undefined ? '' : startMark(await processStart(Number(pid)))
    return !(await isRunning(Number(pid), null)) || (mark !== '' && mark !== `${start}-`)
  }
  return Date.now() - (await stat(path)).mtimeMs > STALE_MS
}
