/**
 * Temporary folders inside a cache that several processes share. Their names identify the owning process, because a
 * process that is killed leaves its folders behind: the next sweep removes those and keeps those of living processes.
 */
import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'

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

/** Whether a process with this id is running on this machine. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it is running and belongs to another user.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

async function isLeftover(name: string, path: string): Promise<boolean> {
  const match = namePattern.exec(name)
  if (!match) return false
  const [, owner, pid] = match
  if (owner === machineId()) return !isAlive(Number(pid))
  return Date.now() - (await stat(path)).mtimeMs > STALE_MS
}

/**
 * Equal for processes whose ids can be compared. A host name is not enough: many machines keep the name of their image,
 * and each container has process ids of its own.
 */
function machineId(): string {
  let [boot, namespace] = ['', '']
  try {
    boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
    namespace = readlinkSync('/proc/self/ns/pid')
  } catch {
    // Only Linux has these files.
  }
  return createHash('sha256').update(`${hostname()} ${boot} ${namespace}`).digest('hex').slice(0, 8)
}
