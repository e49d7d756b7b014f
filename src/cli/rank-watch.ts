/**
 * Reports a rank that is killed, from outside: launchers often blame another one. A shell waits for the end of a pipe
 * that only this process holds. When it ends without {@link RankWatch.release}, the shell writes `failure.json` into
 * the run directory; the shell of the rank that was killed first creates the file, and it alone prints the message.
 */
import { spawn } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface RankIdentity {
  readonly rank: number
  readonly size: number
  readonly host: string
  readonly pid: number
}

/** The file with the first failure of a job, in its run directory: rank, host, PID and reason. */
const failureFile = (directory: string): string => join(directory, 'failure.json')

/** `rank 2 of 4 (node7, PID 4711)` */
export const rankTitle = ({ rank, size, host, pid }: RankIdentity): string =>
  `rank ${rank} of ${size} (${host}, PID ${pid})`

/** Arguments: message, file, its contents, folder. `set -C`: the file is not overwritten. */
const SCRIPT = `set -C; read -r _
if [ ! -d "$4" ] || { printf '%s\\n' "$3" > "$2"; } 2>/dev/null; then printf '%s\\n' "$1" >&2; fi`

export interface RankWatch {
  /** Call it before the process ends on purpose. */
  release(): void
}

/** @param resume Command that continues the run, for the message. */
export function watchRank(identity: RankIdentity, directory: string, resume: string): RankWatch {
  // The file of an earlier job; its ranks have ended.
  if (identity.rank === 0) rmSync(failureFile(directory), { force: true })
  if (process.platform === 'win32') return { release() {} }
  const reason = 'was killed: by a signal, or by the system when memory ran out'
  const message = `choir: ${rankTitle(identity)} ${reason}; continue with: ${resume}`
  const args = [message, failureFile(directory), failure(identity, reason), directory]
  const shell = spawn('sh', ['-c', SCRIPT, 'choir-watch', ...args], {
    stdio: ['pipe', 'ignore', 'inherit'],
    // A session of its own, since launchers kill the group of a rank.
    detached: true,
  })
  shell.on('error', () => {})
  shell.unref()
  return { release: () => shell.kill('SIGKILL') }
}

/** Records why this rank ends the job, if it is the first one to fail. */
export function recordFailure(identity: RankIdentity, directory: string, reason: string): void {
  // Without a run, the directory stays free for the next attempt.
  if (!existsSync(join(directory, 'config.json'))) return
  try {
    writeFileSync(failureFile(directory), `${failure(identity, reason)}\n`, { flag: 'wx' })
  } catch {
    // Another rank has failed before, or the disk is full: the message is printed anyway.
  }
}

const failure = ({ rank, host, pid }: RankIdentity, reason: string): string =>
  JSON.stringify({ rank, host, pid, reason })
