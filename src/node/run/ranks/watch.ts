/**
 * Reports from outside that a rank was killed, because launchers often blame another rank. A shell waits for the end of
 * a pipe that only this process holds. When the pipe ends without {@link RankWatch.release}, the shell writes
 * `failure.json` into the run directory. The shell of the rank that was killed first creates the file, and only that
 * shell prints the message.
 */
import { spawn } from 'node:child_process'
import { type RankIdentity, rankName } from '../../../core/text/rank-name.ts'
import { childEnvironment } from '../../system/child-environment.ts'
import { failureFile, failureText } from './files.ts'

/** Reasons why a rank ends without a message, as far as they are known. */
const KILLED = 'was killed: by a signal, or by the system when memory ran out'
const OUT_OF_MEMORY = 'was killed, most likely by the system: memory ran out, and it killed a process on this host'
/** Mpirun of Open MPI kills a rank half a second after it has asked the rank to stop. */
const KILLED_AFTER_SIGNAL = 'was asked to stop by a signal, and killed before it had ended'

/**
 * Script of the shell that watches a rank. Its arguments are the title of the rank, the path of failure.json, the
 * contents of that file up to the reason, the command that continues the run, the reason unless the rank sends another
 * reason, the reason if the system killed a process, and the PIDs of the other ranks on this host.
 *
 * The rank that was killed is not always the first one whose pipe ends: a survivor may fail when it reads the memory of
 * the dead rank, or be killed by the launcher, while the system still cleans up the dead rank. A process whose memory
 * is gone has no `exe`. So a shell that finds another rank dead lets the other shell go first. `set -C` keeps the shell
 * from overwriting a file. A file that can be created but not written, on a full disk, counts as created.
 */
const SCRIPT = `title=$1 file=$2 contents=$3 resume=$4 reason=$5 memory=$6
shift 6
kills() { grep -s '^oom_kill ' /proc/vmstat; }
before=$(kills)
while read -r line; do reason=$line; done
first=yes
if [ -e /proc/self/exe ]; then
  for pid; do [ -e "/proc/$pid/exe" ] || first=; done
fi
[ "$first" ] || [ -e "$file" ] || sleep 0.5
[ "$(kills)" = "$before" ] || reason=$memory
[ "$first" ] || reason="$reason (other ranks of this host ended at the same time; one of them may have been first)"
if (set -C; : > "$file") 2>/dev/null; then
  { printf '%s%s"}\n' "$contents" "$reason" > "$file"; } 2>/dev/null
elif [ -e "$file" ] || [ ! "$first" ]; then
  exit
fi
printf 'choir: %s %s; continue with: %s\n' "$title" "$reason" "$resume" >&2`

export interface RankWatch {
  /** Call it when a signal has asked the rank to stop: a launcher may kill the rank before it has stopped. */
  stopping(): void
  /** Ends the watch. Call it before the process ends on purpose. */
  release(): void
}

/**
 * Starts the shell that watches this process.
 * @param size Number of ranks.
 * @param resume Command that continues the run, for the message.
 * @param neighbours PIDs of the other ranks on this host.
 */
export function watchRank(
  identity: RankIdentity,
  size: number,
  directory: string,
  resume: string,
  neighbours: readonly number[],
): RankWatch {
  if (process.platform === 'win32') return { stopping() {}, release() {} }
  const contents = failureText(identity, '').slice(0, -'"}\n'.length)
  const args = [rankName(identity, size), failureFile(directory), contents, resume, KILLED, OUT_OF_MEMORY]
  const shell = spawn('sh', ['-c', SCRIPT, 'choir-watch', ...args, ...neighbours.map(String)], {
    stdio: ['pipe', 'ignore', 'inherit'],
    env: childEnvironment(),
    // The shell has a session of its own, since launchers kill the process group of a rank.
    detached: true,
  })
  shell.on('error', () => {})
  shell.stdin.on('error', () => {})
  shell.unref()
  return {
    stopping: () => shell.stdin.write(`${KILLED_AFTER_SIGNAL}\n`),
    release: () => shell.kill('SIGKILL'),
  }
}
