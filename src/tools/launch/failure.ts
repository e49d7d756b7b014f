/**
 * Which rank failed, where and why. Three sources, the surest first:
 *
 *   - `failure.json` in the run directory, which a rank writes that fails with an error:
 *     `{ "rank": 1, "host": "b", "pid": 4711, "reason": "..." }`
 *   - the messages of mpirun: they name the rank (Open MPI) or the process (MPICH) of a killed one
 *   - `ranks.json`, which ranks write when they start: `{ "ranks": [{ "rank": 0, "host": "a", "pid": 42 }, ...] }`.
 *     It completes what the others lack.
 *
 * A killed rank cannot write, and MPICH then often names a survivor or nobody. Both files are written by the ranks and
 * may be missing or damaged; fields of the wrong type count as missing.
 */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RunError } from '../../core/errors.ts'

export interface RankFailure {
  readonly rank?: number
  readonly host?: string
  readonly pid?: number
  readonly reason?: string
}

const RANKS_FILE = 'ranks.json'
const FAILURE_FILE = 'failure.json'

/** Removes what an earlier attempt has written. @throws RunError if it is a folder, or may not be removed */
export async function forgetFailures(directory: string): Promise<void> {
  for (const name of [RANKS_FILE, FAILURE_FILE]) {
    const path = join(directory, name)
    await rm(path, { force: true }).catch((error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'ERR_FS_EISDIR' ? 'it is a folder, where a file is expected (move it away)' : error.message
      throw new RunError(`cannot remove ${path}: ${why}`)
    })
  }
}

/**
 * @param text the last messages of mpirun
 * @returns what is known; empty if nothing is
 */
export async function findFailure(directory: string, text: string): Promise<RankFailure> {
  const written = rankFailure(await readJson(join(directory, FAILURE_FILE)))
  const reported = parseMpirunText(text)
  // Two ranks may have failed. Fields of different ranks are not mixed.
  const first = Object.keys(written).length > 0 ? written : reported
  const ranks = await readJson(join(directory, RANKS_FILE))
  const list = isObject(ranks) && Array.isArray(ranks.ranks) ? ranks.ranks.map(rankFailure) : []
  const same = list.find(({ rank, pid, host }) =>
    first.rank !== undefined
      ? rank === first.rank
      : first.pid !== undefined && pid === first.pid && (first.host === undefined || host === first.host),
  )
  return { ...same, ...first }
}

/** What mpirun of Open MPI 5 or MPICH 4 says about the process that ended the job. */
export function parseMpirunText(text: string): RankFailure {
  const flat = text.replace(/\s+/g, ' ')
  const signal = /process rank (\d+) with PID (\d+) on node (\S+) exited on signal (\d+ \([^)]*\))/.exec(flat)
  if (signal) {
    const [, rank, pid, host = '', name = ''] = signal
    return { rank: Number(rank), pid: Number(pid), host, reason: `killed by signal ${name}` }
  }
  const status = /Process name: \[\S+@\d+,(\d+)\] Exit code: (\d+)/.exec(flat)
  if (status) return { rank: Number(status[1]), reason: `exit code ${status[2]}` }
  const lost = /lost communication with a remote daemon.* Remote daemon: \[\S+\] on node (\S+)/.exec(flat)
  if (lost?.[1] !== undefined) return { host: lost[1], reason: 'the host does not answer' }
  const unknown = /ssh: (?:Could not resolve hostname|connect to host) (\S+?):? (.*?)(?: \[mpiexec| -{5}|$)/.exec(flat)
  if (unknown?.[1] !== undefined) return { host: unknown[1], reason: `ssh: ${(unknown[2] ?? '').trim()}` }
  const bad = /= PID (\d+) RUNNING AT (\S+) = EXIT CODE: (\d+)/.exec(flat)
  if (bad) return { pid: Number(bad[1]), host: bad[2] ?? '', reason: `exit code ${bad[3]}` }
  return {}
}

/** `rank 1 on b (PID 4711): killed by signal 9 (Killed)`. */
export function failureText({ rank, host, pid, reason }: RankFailure): string {
  const who = rank === undefined ? (pid === undefined ? '' : 'a rank') : `rank ${rank}`
  const where = host === undefined ? '' : who === '' ? `host ${host}` : ` on ${host}`
  const id = pid === undefined ? '' : ` (PID ${pid})`
  const subject = `${who}${where}${id}`
  if (subject === '') return reason ?? 'mpirun names no rank'
  return reason === undefined ? subject : `${subject}: ${reason}`
}

function rankFailure(value: unknown): RankFailure {
  if (!isObject(value)) return {}
  const { rank, host, pid, reason } = value
  return {
    ...(isCount(rank) && { rank }),
    ...(typeof host === 'string' && { host }),
    ...(isCount(pid) && { pid }),
    ...(typeof reason === 'string' && { reason }),
  }
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch {
    return undefined
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === 'object'
const isCount = (value: unknown): value is number => Number.isInteger(value) && Number(value) >= 0
