/**
 * A batch script for Slurm: options, one command, and the steps after its end. Before the time limit, Slurm sends
 * SIGUSR1 to the script. The script passes the signal on, the command saves and stops, and the script puts the job back
 * into the queue. When the job starts again, the run continues.
 *
 *     #!/bin/bash
 *     #SBATCH --job-name=demo
 *     #SBATCH --nodes=2
 *     #SBATCH --signal=B:USR1@120
 *     #SBATCH --requeue
 *     cd /home/me
 *     ...
 *     scontrol requeue "$SLURM_JOB_ID"
 */
import { option, UsageError, wording } from '../../core/errors.ts'
import { commandLine } from '../../core/text/shell.ts'

/** Place and time limit of a job. */
export interface SlurmSettings {
  /** Time limit, such as 4:00:00; default: the limit of the partition. */
  readonly time?: string
  readonly partition?: string
  readonly account?: string
  /** Further options, such as `--exclusive` or `--mem=64G`. */
  readonly sbatch?: readonly string[]
}

interface BatchScript extends SlurmSettings {
  readonly name: string
  /** The folder in which the command runs. */
  readonly folder: string
  /** Further options, such as `['--nodes=2']`. */
  readonly options: readonly string[]
  /** Pattern of the log's name after the job's, `%j` or `%A_%a`. */
  readonly log: string
  /** Lines that set "$@", the arguments of the command, at each attempt. */
  readonly before: readonly string[]
  readonly command: string
  /** The signal on which the command saves and stops. */
  readonly stopSignal: 'USR1' | 'TERM'
  /** Times that the command is run again in the same job after it failed. */
  readonly restarts: number
  /** The run directory, if the command trains one run. */
  readonly directory?: string
}

/**
 * Seconds before the time limit at which ranks are asked to save: enough for a step, and a checkpoint on a slow disk.
 */
const WARNING_SECONDS = 120

export function sbatchScript(script: BatchScript): string {
  const { name, folder, options, log, before, command, stopSignal, restarts, directory } = script
  const jobName = name.replace(/[^\w.-]+/g, '-')
  const lines = [
    '#!/bin/bash',
    ...[
      `--job-name=${jobName}`,
      ...options,
      // Threads are counted in physical cores.
      '--hint=nomultithread',
      ...placeOptions(script),
      `--output=${jobName}-${log}.log`,
      '--open-mode=append',
      `--signal=B:USR1@${WARNING_SECONDS}`,
      '--requeue',
    ].map((option) => `#SBATCH ${option}`),
    '',
    `cd ${commandLine([folder])} || exit 1`,
    '',
    ...attemptFunction(before, command, stopSignal),
    '',
    ...(restarts > 0 ? attempts(restarts, directory) : ['attempt']),
    '',
    '# Stopped before its end by the time limit: continue when the job is started again.',
    `if [ -n "$stopping" ] && [ "$code" -ne 0 ]; then`,
    `  echo "choir: stopped before the time limit; job $SLURM_JOB_ID goes back into the queue" >&2`,
    `  scontrol requeue "$SLURM_JOB_ID"`,
    'fi',
    `exit "$code"`,
  ]
  return `${lines.join('\n')}\n`
}

/**
 * Lines that define a function `attempt`, which runs the command and waits until it has ended by itself, and set the trap
 * that passes Slurm's warning on to it as the signal on which it saves and stops.
 * @param before lines that set "$@", the arguments of the command, at each attempt
 */
function attemptFunction(before: readonly string[], command: string, send: BatchScript['stopSignal']): string[] {
  return [
    'stopping= job=',
    'stop() {',
    '  stopping=1 warned=1',
    `  if [ -n "$job" ]; then kill -${send} "$job" 2>/dev/null; fi`,
    '}',
    'trap stop USR1',
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

/**
 * Lines that run the command again after a failure, but not after wrong usage (exit code 2) or an interrupt (130), nor
 * if an error that follows from what the run computes has come twice from the same checkpoint.
 */
function attempts(restarts: number, directory: string | undefined): string[] {
  return [
    ...(directory === undefined ? [] : [...computedFunction(directory), '']),
    `restarts=${restarts}`,
    'attempt',
    'while [ "$restarts" -gt 0 ] && [ -z "$stopping" ] && [ "$code" -ne 0 ] && [ "$code" -ne 2 ] && [ "$code" -ne 130 ]; do',
    ...(directory === undefined ? [] : endIfRepeated),
    '  restarts=$((restarts - 1))',
    '  echo "choir: failed with exit code $code; trying again in 10 s ($restarts more times after that)" >&2',
    '  sleep 10',
    '  attempt',
    'done',
  ]
}

/** Lines that define `computed`, which prints the newest checkpoint and the reason in `failure.json`, if it is such. */
function computedFunction(directory: string): string[] {
  const path = (name: string) => commandLine([`${directory}/${name}`])
  return [
    '# The newest checkpoint, and the error if it follows from what the run computes.',
    'computed() {',
    '  local reason',
    `  reason=$(sed -n 's/PID [0-9]*/PID/g; s/.*"computed":true,"reason"://p' ${path('failure.json')} 2>/dev/null)`,
    `  [ -z "$reason" ] || echo "$(ls ${path('checkpoints')} 2>/dev/null | tail -n 1) $reason"`,
    '}',
  ]
}

const endIfRepeated = [
  '  error=$(computed)',
  '  if [ -n "$error" ] && [ "$error" = "$before" ]; then',
  '    echo "choir: the same error from the same checkpoint as before: another restart would repeat it" >&2',
  '    break',
  '  fi',
  '  before=$error',
]

/** Options of sbatch that the script itself has, or that options of `choir launch` set. */
const OWN_OPTIONS = [
  ...['job-name', 'nodes', 'ntasks', 'ntasks-per-node', 'cpus-per-task', 'hint', 'array', 'output', 'open-mode'],
  ...['signal', 'requeue', 'no-requeue', 'time', 'partition', 'account'],
]

/** @throws UsageError if an option has no long form, has characters of a new line, or is set by the script itself */
function checkOption(text: string): void {
  const [, name = ''] = /^--([a-z][a-z0-9-]*)(=[\x20-\x7e]+)?$/.exec(text) ?? []
  const refused = (expected: string) =>
    new UsageError(wording`invalid ${option('sbatch')}: ${JSON.stringify(text)} (expected ${expected})`)
  if (name === '') throw refused('an option in its long form, such as --exclusive or --mem=64G')
  if (OWN_OPTIONS.includes(name)) throw refused(`an option other than --${name}, which the script sets`)
}

/** Whether the user asks for GPUs with options of sbatch. */
export const asksForGpus = ({ sbatch = [] }: SlurmSettings): boolean =>
  sbatch.some((given) => /^--(gpus|gres|tres)/.test(given))

function placeOptions({ time, partition, account, sbatch = [] }: SlurmSettings): string[] {
  // The form of days and hours needs no minutes: 1-0 is a day. See the manual of sbatch.
  if (time !== undefined && !/^(\d+|\d+:\d\d(:\d\d)?|\d+-\d\d?(:\d\d){0,2})$/.test(time))
    throw new UsageError(
      wording`invalid ${option('time')}: ${JSON.stringify(time)} (expected minutes, hours:minutes:seconds or days-hours, such as 4:00:00)`,
    )
  for (const [name, value] of Object.entries({ partition, account }))
    if (value !== undefined && !/^[\w.,@+-]+$/.test(value))
      throw new UsageError(
        wording`invalid ${option(name)}: ${JSON.stringify(value)} (expected a name of letters, digits, - and _)`,
      )
  sbatch.forEach(checkOption)
  const place = Object.entries({ time, partition, account }).flatMap(([option, value]) =>
    value === undefined ? [] : [`--${option}=${value}`],
  )
  return [...place, ...sbatch]
}
