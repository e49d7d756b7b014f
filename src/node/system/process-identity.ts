/**
 * Identifies processes, also between machines that share a folder: process ids are reused, and each machine has process
 * ids of its own.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { promisify } from 'node:util'

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

/** Whether the process of this machine that had this id and start time is running. */
export async function isRunning(pid: number, start: string | null): Promise<boolean> {
  if (!isAlive(pid) || (await hasEnded(pid))) return false
  const startNow = await processStart(pid)
  return start === null || startNow === null || start === startNow
}

/**
 * Where a process runs. Process ids can be compared if all fields are equal. A host name is not enough: many machines
 * keep the name of their image, and each container has process ids of its own.
 */
export interface Place {
  readonly host: string
  /** Id of the system's start, which all containers of a machine share; null where there is no such id (not Linux). */
  readonly boot: string | null
  /** Id of a set of processes that see each other, such as a container; null where the system has one such set. */
  readonly namespace: string | null
}

export function ownPlace(): Place {
  const read = (value: () => string): string | null => {
    try {
      return value().trim()
    } catch {
      // Only Linux has these files.
      return null
    }
  }
  return {
    host: hostname(),
    boot: read(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')),
    namespace: read(() => readlinkSync('/proc/self/ns/pid')),
  }
}

/** A short hash that is equal for processes whose ids can be compared. */
export function machineId({ host, boot, namespace }: Place = ownPlace()): string {
  return createHash('sha256')
    .update(`${host} ${boot ?? ''} ${namespace ?? ''}`)
    .digest('hex')
    .slice(0, 8)
}

/** Whether a process has ended, but its parent has not noticed. In a container the parent may never notice. */
async function hasEnded(pid: number): Promise<boolean> {
  if (process.platform === 'darwin') return (await processField(pid, 'stat').catch(() => '')).startsWith('Z')
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return /^[ZX]$/.test(fieldsAfterName(status)[0] ?? '')
}

/** A column of `ps`. */
async function processField(pid: number, name: 'lstart' | 'stat'): Promise<string> {
  const { stdout } = await promisify(execFile)('ps', ['-o', `${name}=`, '-p', String(pid)], {
    env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
  })
  return stdout.trim()
}

/** Fields of `/proc/PID/stat` from the third on; the second is a name in parentheses that may contain any character. */
const fieldsAfterName = (status: string): string[] => status.slice(status.lastIndexOf(')') + 2).split(' ')

/**
 * Start time of a process in the system's own format. It differs between successive processes with the same
 * id. Null where the system does not report it.
 */
export async function processStart(pid: number): Promise<string | null> {
  try {
    if (process.platform === 'linux') {
      const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
      const status = await readFile(`/proc/${pid}/stat`, 'utf8')
      // Field 22 is the start time in ticks since boot.
      const ticks = fieldsAfterName(status)[19]
      return ticks === undefined ? null : `${boot.trim()} ${ticks}`
    }
    if (process.platform === 'darwin') return (await processField(pid, 'lstart')) || null
  } catch {}
  return null
}
