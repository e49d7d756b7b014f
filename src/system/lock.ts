/**
 * Ensures that one process at a time trains in a run directory. The lock is a file that names its holder:
 * process id, host, and the start time of that process, because process ids are reused. A lock whose holder
 * is dead is taken over; a lock of another host cannot be checked and is left to the user.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { readFile, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { RunError } from '../errors.ts'
import { createFile, errorCode } from './disk.ts'
import { isRunning, processStart } from './process-identity.ts'

export const LOCK_FILE = '.lock'

export interface RunLock {
  /** Frees the run directory. Idempotent; also done on a normal exit of the process. */
  release(): Promise<void>
}

/** A lock that cannot be read for this long has no holder. */
const UNREADABLE_MS = 2000
const WAIT_MS = 500
/** Enough to wait for such a lock, take it over, and meet other processes that do the same. */
const ATTEMPTS = 5 + UNREADABLE_MS / WAIT_MS

/** Another process of this machine holds the lock. */
export class LockedRun extends RunError {}

interface Holder {
  readonly pid: number
  readonly host: string
  /** When the lock was taken, ISO 8601. */
  readonly since: string
  /** Start time, to distinguish a later process with the same id; null where the system does not report it. */
  readonly start: string | null
  /** Unique to this lock. */
  readonly id: string
}

/**
 * Locks a run directory, which must exist.
 * @throws RunError naming the process that holds the lock
 */
export async function lockRun(directory: string): Promise<RunLock> {
  const path = join(directory, LOCK_FILE)
  const self: Holder = {
    pid: process.pid,
    host: hostname(),
    since: new Date().toISOString(),
    start: await processStart(process.pid),
    id: randomUUID(),
  }
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if ((await createLock(path, self)) && (await isStillOurs(path, self.id))) return heldLock(path, self.id)
    const holder = await readHolder(path)
    if (holder === 'none') continue
    if (holder !== 'unreadable') await refuseIfAlive(directory, path, holder)
    await removeStale(path, holder === 'unreadable' ? undefined : holder.id)
  }
  throw new RunError(
    `cannot lock run ${directory}: other processes keep locking and releasing it (try again; if there are none, delete ${path})`,
  )
}

/** Whether the holder named in a lock file's contents is a living process of this machine; false if unknown. */
export async function isHeldByLiveProcess(contents: string): Promise<boolean> {
  try {
    const { pid, host, start = null } = JSON.parse(contents) as Partial<Holder>
    return host === hostname() && Number.isInteger(pid) && pid !== undefined && (await isRunning(pid, start))
  } catch {
    return false
  }
}

/** False if the lock file exists. */
async function createLock(path: string, self: Holder): Promise<boolean> {
  try {
    return await createFile(path, JSON.stringify(self), `${path}.${self.id}`)
  } catch (error) {
    throw new RunError(`cannot lock ${path}: ${(error as Error).message}`)
  }
}

/**
 * Whether the new lock is still in place. Another process that takes over a stale lock may move a new lock away
 * for an instant ({@link removeStale}); a lock created in that instant is overwritten when the other is put back.
 */
async function isStillOurs(path: string, id: string): Promise<boolean> {
  for (let attempt = 0; attempt < 3; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    const holder = await readHolder(path)
    if (typeof holder !== 'string') return holder.id === id
  }
  return false
}

/** Whether a run directory has the lock of another host, which cannot be checked from here. */
export async function isLockedElsewhere(directory: string): Promise<boolean> {
  const holder = await readHolder(join(directory, LOCK_FILE))
  return typeof holder !== 'string' && holder.host !== hostname()
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
  const { pid, host, since, start } = holder
  if (host !== hostname())
    throw new RunError(
      `run ${directory} is in use by process ${pid} on host ${host} since ${since}, which cannot be checked from ` +
        `${hostname()}. If that process is gone, delete ${path} and try again`,
    )
  if (!(await isRunning(pid, start))) return
  throw new LockedRun(
    pid === process.pid
      ? `run ${directory} is already in use by this process, ${pid}, since ${since}`
      : `run ${directory} is in use by process ${pid} since ${since}. Wait for it or stop it; if process ${pid} ` +
          `is not a training, delete ${path} and try again`,
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

function heldLock(path: string, id: string): RunLock {
  const release = () => {
    process.removeListener('exit', release)
    try {
      // If our lock was deleted by hand, the file may now be the lock of another process.
      if ((JSON.parse(readFileSync(path, 'utf8')) as Holder).id === id) rmSync(path)
    } catch {}
  }
  process.once('exit', release)
  return { release: async () => release() }
}
