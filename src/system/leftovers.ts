/**
 * Folders for passing files, beside the entries of a cache that several processes share. Their names tell whose they
 * are, because a process that is killed leaves its own behind: those go with the next sweep, and those of the living
 * stay.
 */
import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'

const pattern = /^\.(?:scratch|building)-(?:([0-9a-f]{8})-(\d+)-)?/

/** Milliseconds after which a folder goes whose owner cannot be asked: it is of another machine, or from before this one was started, or nameless. */
const STALE_MS = 48 * 3600 * 1000

/** A new folder of this process in `root`. */
export function makePassing(root: string, kind: 'scratch' | 'building'): Promise<string> {
  return mkdtemp(join(root, `.${kind}-${place()}-${process.pid}-`))
}

/** Removes what dead processes left in `root`. What cannot be removed, or is being removed by others, is passed over. */
export async function sweepLeftovers(root: string): Promise<void> {
  for (const name of await readdir(root).catch(() => [])) {
    const path = join(root, name)
    if (await isLeftover(name, path).catch(() => false))
      await rm(path, { recursive: true, force: true }).catch(() => {})
  }
}

/** Whether a process of this number lives on this machine. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it lives and belongs to another user.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

async function isLeftover(name: string, path: string): Promise<boolean> {
  const match = pattern.exec(name)
  if (!match) return false
  const [, owner, pid] = match
  if (owner === place()) return !isAlive(Number(pid))
  return Date.now() - (await stat(path)).mtimeMs > STALE_MS
}

/**
 * What tells processes whose numbers can be compared. A host name does not: many machines have the one of their image,
 * and containers on a machine have numbers of their own.
 */
function place(): string {
  let [boot, namespace] = ['', '']
  try {
    boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
    namespace = readlinkSync('/proc/self/ns/pid')
  } catch {
    // Only Linux has them.
  }
  return createHash('sha256').update(`${hostname()} ${boot} ${namespace}`).digest('hex').slice(0, 8)
}
