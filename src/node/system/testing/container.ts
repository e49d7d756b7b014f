/** A command for tests that runs another command as process 1 of a container, as far as a lock can tell. */
import { spawnSync } from 'node:child_process'

// On some systems, all users may make a namespace of processes inside a user namespace.
const commands = [[], ['--user', '--map-root-user']].map((more) => [
  'unshare',
  ...more,
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
])

const works = ([command = '', ...args]: readonly string[]): boolean =>
  spawnSync(command, [...args, 'true']).status === 0

/** Words to put before a command; undefined if the system is not Linux, or does not permit namespaces. */
export const inContainer: readonly string[] | undefined = commands.find(works)

if (!inContainer) console.warn('skipped: tests of containers, since unshare --pid is not permitted here')
