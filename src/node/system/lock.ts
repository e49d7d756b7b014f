/**
 * Ensures that one process at a time trains in a run directory. The lock is a file that names its holder: process id,
 * the start time of that process, because process ids are reused, and where it runs, because each machine and each
 * container has process ids of its own. The file is also locked by the operating system (`kernel-lock.ts`).
 *
 * A lock whose holder is dead is taken over. If this process can see the holder, the system knows whether it runs. If
 * the holder is in another container of this machine, the system's lock shows whether it runs. So a container that is
 * restarted after a kill continues its run, although its process has the same id as the process before. Holders that
 * cannot be checked are left to the user: on another host, or in another container on a file system without locks.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { RunError } from '../../core/errors.ts'
import { createFile, errorCode } from './disk.ts'
import { createLocked, isStillLocked, type LockedFile, type OpenLock } from './kernel-lock.ts'
import { isRunning, ownPlace, type Place, processStart } from './process-identity.ts'

export const LOCK_FILE = '.lock'

export interface RunLock {
  /** Frees the run directory. Idempotent; also done on a normal exit of the process. */
  release(): Promise<void>
}

/** A lock that cannot be read for this long has no holder. */
const UNREADABLE_MS = 2000
const WAIT_MS = 500
/** Number of attempts: enough to wait for such a lock, take it over, and meet other processes that do the same. */
const ATTEMPTS = 5 + UNREADABLE_MS / WAIT_MS

/** Error if another process, which is alive, holds the lock. */
export class LockedRun extends RunError {}

/** The contents of a lock file. In files of earlier versions some fields are missing. */
interface Holder extends Partial<Place> {
  readonly pid: number
  readonly host: string
  /** When the lock was taken, ISO 8601. */
  readonly since: string
  /** Start time, to distinguish a later process with the same id; null where the system does not report it. */
  readonly start: string | null
  /** Unique to this lock. */
  readonly id: string
  /** The file as the system has locked it; null where the system cannot lock it. */
  readonly file?: LockedFile | null
}

/**
 * The place of a holder: `here`, if its process id can be looked up; in another `container` of this machine; on this
 * machine, but before its last start (`earlier`); or `elsewhere`.
 */
type Whereabouts = 'here' | 'container' | 'earlier' | 'elsewhere'

/**
 * Locks a run directory, which must exist.
 * @throws RunError naming the process that holds the lock
 */
export async function lockRun(directory: string): Promise<RunLock> {
  const path = join(directory, LOCK_FILE)
  const self: Holder = {
    pid: process.pid,
    ...ownPlace(),
    since: new Date().toISOString(),
    start: await processStart(process.pid),
    id: randomUUID(),
  }
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const locked = await createLock(path, self)
    if (locked && (await isStillOurs(path, self.id))) return heldLock(path, self.id, locked)
    locked?.close()
    const holder = await readHolder(path)
    if (holder === 'none') continue
    if (holder !== 'unreadable') await refuseIfAlive(directory, path, holder)
    await removeStale(path, holder === 'unreadable' ? undefined : holder.id)
  }
  throw new RunError(
    `cannot lock run ${directory}: other processes keep locking and releasing it (try again; if there are none, delete ${path})`,
  )
}

/** Whether the holder in the contents of a lock file is a living process that can be seen here; false if unknown. */
export async function isHeldByLiveProcess(contents: string): Promise<boolean> {
  try {
    const holder = JSON.parse(contents) as Holder
    const { pid, start = null } = holder
    return whereaboutsOf(holder) === 'here' && Number.isInteger(pid) && (await isRunning(pid, start))
  } catch {
    return false
  }
}

/** The whereabouts of the holder of a lock. @param own Place of this process, which tests replace. */
export function whereaboutsOf({ host, boot, namespace }: Partial<Place>, own = ownPlace()): Whereabouts {
  const isSameHost = host === own.host
  const isSameBoot = boot && own.boot ? boot === own.boot : isSameHost
  if (!isSameBoot) return isSameHost ? 'earlier' : 'elsewhere'
  // Copies of a virtual machine have the same boot id, so a host of another name is not taken for this one.
  return isSameHost && (namespace ?? own.namespace) === own.namespace ? 'here' : 'container'
}

/** Whether a holder is alive; null if that cannot be found out from here. */
async function isAlive(path: string, { file, ...holder }: Holder): Promise<boolean | null> {
  const locked = file ? await isStillLocked(path, file) : null
  if (locked) return true
  switch (whereaboutsOf(holder)) {
    case 'here':
      // If the holder is this process, its thread may have ended.
      return (await isRunning(holder.pid, holder.start)) && !(locked === false && holder.pid === process.pid)
    case 'container':
      return locked
    case 'earlier':
      return false
    case 'elsewhere':
      return null
  }
}

/** Creates the lock file, locked by the system where that is possible. Null if the file exists. */
async function createLock(path: string, self: Holder): Promise<Pick<OpenLock, 'close'> | null> {
  const draft = `${path}.${self.id}`
  let locked: OpenLock | null = null
  try {
    locked = await createLocked(draft)
    const file = locked?.file ?? null
    if (await createFile(path, JSON.stringify({ ...self, file }), draft)) return locked ?? { close: () => {} }
    locked?.close()
    return null
  } catch (error) {
    locked?.close()
    throw new RunError(`cannot lock ${path}: ${(error as Error).message}`)
  }
}

/**
 * Whether the new lock is still in place. Another process that takes over a stale lock may move a new lock away
 * for an instant ({@link removeStale}); a lock created in that instant is overwritten when the moved one is put back.
 */
async function isStillOurs(path: string, id: string): Promise<boolean> {
  for (let attempt = 0; attempt < 3; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    const holder = await readHolder(path)
    if (typeof holder !== 'string') return holder.id === id
  }
  return false
}

/** Whether a process on another host or in another container has the lock of a run directory, or may have it. */
export async function isLockedElsewhere(directory: string): Promise<boolean> {
  const path = join(directory, LOCK_FILE)
  const holder = await readHolder(path)
  return typeof holder !== 'string' && whereaboutsOf(holder) !== 'here' && (await isAlive(path, holder)) !== false
}

async function readHolder(path: string): Promise<Holder | 'none' | 'unreadable'> {
  try {
    const holder = JSON.parse(await readFile(path, 'utf8')) as Partial<Holder> | null
    if (Number.isInteger(holder?.pid) && typeof holder?.host === 'string' && typeof holder.id === 'string')
      return { since: 'an unknown time', start: null, ...holder } as Holder
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 'none'
    if (errorCode(error) === 'EISDIR')
      throw new RunError(`cannot lock ${path}: it is a folder (remove it, and try again)`)
    if (!(error instanceof SyntaxError)) throw new RunError(`cannot read ${path}: ${(error as Error).message}`)
  }
  // Without hard links the contents are written just after the file is created; a power cut may leave it empty.
  const { mtimeMs } = await stat(path)
  if (Date.now() - mtimeMs > UNREADABLE_MS) return 'unreadable'
  await new Promise((resolve) => setTimeout(resolve, WAIT_MS))
  return 'none'
}

async function refuseIfAlive(directory: string, path: string, holder: Holder): Promise<void> {
  const { pid, host, since } = holder
  const alive = await isAlive(path, holder)
  if (alive === false) return
  const where = whereaboutsOf(holder)
  const isHere = where === 'here'
  const place = isHere ? '' : where === 'container' ? ` in another container (host ${host})` : ` on host ${host}`
  if (alive === null)
    throw new RunError(
      `run ${directory} is in use by process ${pid}${place} since ${since}, which cannot be checked from ` +
        `${where === 'container' ? 'this one' : ownPlace().host}. If that process is gone, delete ${path} and try again`,
    )
  throw new LockedRun(
    isHere && pid === process.pid
      ? `run ${directory} is already in use by this process, ${pid}, since ${since}`
      : `run ${directory} is in use by process ${pid}${place} since ${since}. Wait for it or stop it` +
          (isHere ? `; if process ${pid} is not a training, delete ${path} and try again` : ''),
  )
}

/**
 * Removes a stale lock. Another process may have replaced it with its own new lock meanwhile, so the moved
 * file is checked again and put back if it is not the stale one.
 */
async function removeStale(path: string, staleId: string | undefined): Promise<void> {
  const moved = `${path}.${randomUUID()}`
  try {
    await rename(path, moved)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return
    throw new RunError(`cannot take over ${path}: ${(error as Error).message}`)
  }
  const holder = await readHolder(moved)
  const isStale = typeof holder === 'string' ? holder === 'unreadable' : holder.id === staleId
  if (isStale) await rm(moved, { force: true })
  else await rename(moved, path)
}

function heldLock(path: string, id: string, locked: Pick<OpenLock, 'close'>): RunLock {
  let isReleased = false
  const release = () => {
    if (isReleased) return
    isReleased = true
    process.removeListener('exit', release)
    try {
      // If our lock was deleted by hand, the file may now be the lock of another process.
      if ((JSON.parse(readFileSync(path, 'utf8')) as Holder).id === id) rmSync(path)
    } catch {}
    // This comes last, because a lock that the system has freed may be taken over.
    locked.close()
  }
  process.once('exit', release)
  return { release: async () => release() }
}
