/** Commands and options that went. The command line refuses each with a sentence that names its replacement. */

/**
 * Words of a command line, such as `plan --html` or `simulate`, with what to use instead: the end of a sentence, as in
 * `'plan --html': 'use --out FILE, which writes the same figures'`.
 */
export const removed: Readonly<Record<string, string>> = {
  corpus: 'in a clone, npx tsx bench/corpora/make.ts makes the same texts from packages of Debian (docs/corpora.md)',
  'launch --kubernetes':
    'put the command of choir launch train ... --print --mpi openmpi into the launcher of your MPIJob, with --hostfile /etc/mpi/hostfile for its --host (docs/launch.md)',
  'plan --validate':
    'the errors of predictions are in docs/planner.md; in a clone, npx tsx bench/planner/validate.ts prints each',
}

/**
 * The message with which commander refused `args`, or the removal that made it refuse them, since a removed option is
 * unknown to it. The command is the first word that is not an option.
 */
export function withRemoval(message: string, args: readonly string[], table = removed): string {
  const command = args.find((arg) => !arg.startsWith('-')) ?? ''
  const given = [command, ...args.map((arg) => `${command} ${arg.split('=')[0]}`)]
  const words = given.find((words) => Object.hasOwn(table, words))
  return words === undefined ? message : `error: choir ${words} was removed: ${table[words]}\n`
}
