/**
 * Finds out which rank failed, where and why, from three sources, the most reliable one first:
 *
 *   - `failure.json` in the run directory (src/node/run/ranks/files.ts)
 *   - the messages of mpirun, which name the killed rank (Open MPI) or its process (MPICH)
 *   - `ranks.json`, which ranks write when they start, for fields that the others lack
 *
 * A killed rank cannot write `failure.json`, and MPICH then often names a surviving rank, or no rank at all.
 */
import { rankName } from '../../core/text/rank-name.ts'
import { type RankFailure, readFailure, readRanks } from '../../node/run/ranks/files.ts'

/** The known fields of a failure. */
export type KnownFailure = Partial<RankFailure>

/**
 * @param text the last messages of mpirun
 * @returns the fields that are known; an empty object if nothing is known
 */
export async function findFailure(directory: string, text: string): Promise<KnownFailure> {
  // Two ranks may have failed. Fields of different ranks are not mixed.
  const first: KnownFailure = (await readFailure(directory)) ?? parseMpirunText(text)
  const same = (await readRanks(directory)).find(({ rank, pid, host }) =>
    first.rank !== undefined
      ? rank === first.rank
      : first.pid !== undefined && pid === first.pid && (first.host === undefined || host === first.host),
  )
  return { ...same, ...first }
}

/** Parses the messages of mpirun (Open MPI 5 or MPICH 4) about the process that ended the job. */
export function parseMpirunText(text: string): KnownFailure {
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

/** One line about a failure, such as `rank 1 (b, PID 4711): killed by signal 9 (Killed)`. */
export function failureText({ reason, ...of }: KnownFailure): string {
  const { rank, host, pid } = of
  if (rank === undefined && pid === undefined && host === undefined) return reason ?? 'mpirun names no rank'
  const subject = rank === undefined && pid === undefined ? `host ${host}` : rankName(of)
  return reason === undefined ? subject : `${subject}: ${reason}`
}
