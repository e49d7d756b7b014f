/** For tests: a command before another one that runs it as process 1 of a container, or what a lock sees of one. */
import { spawnSync } from 'node:child_process'

// A user namespace permits a namespace of processes to all users on some systems.
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

/** Undefined where it is not permitted: not Linux, or without the right to make namespaces. */
export const inContainer: readonly string[] | undefined = commands.find(works)

if (!inContainer) console.warn('skipped: tests of containers, since unshare --pid is not permitted here')
