/**
 * Locks of the operating system on files (`flock`). The system frees such a lock when its holder ends, however it ends.
 * So the lock shows whether a holder is alive where process ids do not: in another container, or in a thread of this
 * process.
 *
 * An open file is locked until it is closed. Node closes the files of a worker thread when the thread ends.
 */
import { closeSync, fstatSync, openSync, type Stats } from 'node:fs'
import { statfs } from 'node:fs/promises'

/** Operations of `flock`, the same on Linux and macOS. */
const [SHARED, EXCLUSIVE, WITHOUT_WAITING] = [1, 2, 4]

/** A locked file, as other processes find it. */
export interface LockedFile {
  readonly device: number
  readonly inode: number
}

/** A file that this thread has locked until it calls `close`. */
export interface OpenLock {
  readonly file: LockedFile
  close(): void
}

type Outcome = 'locked' | 'held' | 'unsupported'

/** Creates a file and locks it. Null where the system cannot lock it; the file may exist all the same. */
export async function createLocked(path: string): Promise<OpenLock | null> {
  const lock = await flock()
  if (!lock) return null
  const file = openSync(path, 'wx+')
  if (lock(file, EXCLUSIVE) === 'locked') return { file: identityOf(fstatSync(file)), close: () => closeSync(file) }
  closeSync(file)
  return null
}

/**
 * Whether a file is still locked by the holder that locked it as `locked`. Null if that cannot be found out: the file
 * is gone or a copy, or its file system has no locks, or has separate locks for each mount.
 */
export async function isStillLocked(path: string, locked: LockedFile): Promise<boolean | null> {
  const lock = await flock()
  if (!lock) return null
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return null
  }
  try {
    const { device, inode } = identityOf(fstatSync(file))
    if (inode !== locked.inode) return null
    const outcome = lock(file, SHARED)
    if (outcome !== 'locked') return outcome === 'held' ? true : null
    return device === locked.device || !(await isMountedApart(path)) ? false : null
  } finally {
    closeSync(file)
  }
}

const identityOf = ({ dev, ino }: Stats): LockedFile => ({ device: dev, inode: ino })

/** FUSE and 9P: a container may have a mount of its own of these file systems, which does not see locks of others. */
const mountedApart: ReadonlySet<number> = new Set([0x65735546, 0x01021997])

async function isMountedApart(path: string): Promise<boolean> {
  if (process.platform !== 'linux') return false
  const { type } = await statfs(path)
  return mountedApart.has(type)
}

type Flock = (file: number, operation: number) => Outcome

let opened: Promise<Flock | null> | undefined

/** The function `flock`; null where the C library has no such function (Windows), or cannot be called. */
function flock(): Promise<Flock | null> {
  opened ??= openFlock().catch(() => null)
  return opened
}

async function openFlock(): Promise<Flock> {
  // The interface to C is loaded when it is needed: most commands lock nothing.
  const { errno, loadLibrary, WOULD_BLOCK } = await import('../../engine/native/ffi.ts')
  const call = loadLibrary(null).func('flock', 'int', ['int', 'int'])
  return (file, operation) => {
    if (call(file, operation | WITHOUT_WAITING) === 0) return 'locked'
    return errno() === WOULD_BLOCK ? 'held' : 'unsupported'
  }
}
