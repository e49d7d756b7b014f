/** Formats errors for the command line. */
import { formatValue } from '../../core/config/problems.ts'
import { type Option, RunError, textOf, UsageError } from '../../core/errors.ts'
import { printable } from '../../core/text/printable.ts'

/**
 * The message of an error, followed by its causes. The message of a `UsageError` or `RunError` is complete, and has
 * causes only if `verbose`, which also adds stack traces.
 */
export function formatError(error: unknown, verbose: boolean): string {
  if (!(error instanceof Error)) return printable(String(error))
  const isOurs = error instanceof UsageError || error instanceof RunError
  const reason = isOurs ? textOf(error.wording, flagOf) : reasonOf(error)
  const text = printable(verbose ? (error.stack?.replace(error.message, () => reason) ?? reason) : reason)
  const isComplete = !verbose && isOurs
  return error.cause === undefined || isComplete ? text : `${text}\n  caused by: ${formatError(error.cause, verbose)}`
}

/** Flags of options whose names in the library are different. */
const flags: Readonly<Record<string, string>> = {
  directory: 'out',
  source: 'data',
  'data.source': 'data',
  'runtime.device': 'device',
  'runtime.math': 'math',
  'train.steps': 'steps',
}

/** The flag of an option of the library: `whatIf` is `--what-if`. Settings without a flag of their own use `--set`. */
export function flagOf({ option, value }: Option): string {
  const name = flags[option]
  if (name === undefined && option.includes('.')) return `--set ${option}=${value ?? '...'}`
  const flag = `--${(name ?? option).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
  return value === undefined ? flag : `${flag} ${value}`
}

const reasonOf = (error: Error): string => systemReason(error) || error.message || error.name

/** Whether the current folder was removed, or its disk is no longer mounted. */
const isFolderGone = (error: Error): boolean => (error as NodeJS.ErrnoException).syscall === 'uv_cwd'

/** File and reason of an error of the file system, without error code and system call; a long path is shortened. */
function systemReason(error: Error): string | null {
  if (isFolderGone(error)) return 'the current folder does not exist any more (change to one that does, with cd)'
  const { path, syscall, code } = error as NodeJS.ErrnoException
  const reason = /^E[A-Z]+: (.+?), \w+ '/.exec(error.message)?.[1]
  if (typeof path !== 'string' || syscall === undefined || !reason) return null
  const remedy = code === 'EMFILE' ? ' (raise the limit, such as with: ulimit -n 1024)' : ''
  return `cannot use ${formatValue(path)}: ${reason}${remedy}`
}
