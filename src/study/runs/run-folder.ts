/**
 * The run directory of a cell. If the machine that trained it is gone, its lock is still there, and the run cannot be
 * continued in place: that machine may only have been suspended, and would write into it again. So the run continues in
 * a copy beside it, whose name has the next number.
 */
import { cp, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isLockedElsewhere, LOCK_FILE } from '../../system/lock.ts'

/**
 * The directory in which to start or continue a run.
 * @param path That of its first attempt.
 */
export async function runFolder(path: string): Promise<string> {
  const number = await lastNumber(path)
  const current = numbered(path, number)
  if (!(await isLockedElsewhere(current))) return current
  const next = numbered(path, number + 1)
  await copyRun(current, next)
  return next
}

/** Removes the directories of earlier attempts. On some systems that may fail for a while, which does no harm. */
export async function removeEarlier(path: string, current: string): Promise<void> {
  for (let number = 1; numbered(path, number) !== current; number++)
    await rm(numbered(path, number), { recursive: true, force: true }).catch(() => {})
}

const numbered = (path: string, number: number): string => (number === 1 ? path : `${path}-${number}`)

async function lastNumber(path: string): Promise<number> {
  const names = new Set(await readdir(dirname(path)).catch((): string[] => []))
  const numbers = [...names].flatMap((name) =>
    name.startsWith(`${basename(path)}-`) ? [Number(name.slice(basename(path).length + 1))] : [],
  )
  return Math.max(1, ...numbers.filter(Number.isInteger))
}

/** Checkpoints first: then the logs have all steps of the newest one, even if the run is still being written. */
async function copyRun(from: string, to: string): Promise<void> {
  const draft = `${to}.copy`
  await rm(draft, { recursive: true, force: true })
  try {
    await cp(join(from, 'checkpoints'), join(draft, 'checkpoints'), { recursive: true }).catch(() => {})
    const filter = (path: string) => !basename(path).startsWith(LOCK_FILE) && basename(path) !== 'checkpoints'
    await cp(from, draft, { recursive: true, filter })
    await rename(draft, to)
  } catch {
    // Without a copy the run starts again.
    await rm(draft, { recursive: true, force: true })
  }
}
