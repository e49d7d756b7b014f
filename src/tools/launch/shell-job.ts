/**
 * Lines of bash that run one command, pass a warning on to it as another signal, and wait until it has ended by itself.
 * A batch system warns the script before it ends the job. The ranks need SIGUSR1, on which they save and stop.
 *
 *     trap 'stop' USR1        # after stop() { ... kill -USR1 "$job"; }
 *     srun ... &
 *     job=$!
 *     ...                     # wait "$job", again after each signal
 *     # $code is the exit code of srun, $stopping is set if there was a warning
 */

/**
 * Lines that define a function `attempt`, which runs the command, and set the trap that passes the warning on.
 * @param before lines that set "$@", the arguments of the command, at each attempt
 */
export function attemptFunction(
  before: readonly string[],
  command: string,
  { on, send }: { on: string; send: string },
): string[] {
  return [
    'stopping= job=',
    'stop() {',
    '  stopping=1 warned=1',
    `  if [ -n "$job" ]; then kill -${send} "$job" 2>/dev/null; fi`,
    '}',
    `trap stop ${on}`,
    '',
    '# Sets code to the exit code of the training. A trapped signal ends "wait" early, so it waits again.',
    'attempt() {',
    ...before.map((line) => `  ${line}`),
    `  ${command} &`,
    '  job=$!',
    `  if [ -n "$stopping" ]; then kill -${send} "$job"; fi`,
    '  warned=1',
    '  while [ -n "$warned" ]; do',
    '    warned=',
    '    wait "$job"',
    '    code=$?',
    '  done',
    '  job=',
    '}',
  ]
}
