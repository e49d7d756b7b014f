/** Formats errors for the command line. */
import { formatValue } from '../../core/config/problems.ts'
import { RunError, UsageError } from '../../core/errors.ts'
import { printable } from '../../core/text/printable.ts'

/** The message and, unless it is ours and so complete, the causes; all of them with stack traces if `verbose`. */
export function formatError(error: unknown, verbose: boolean): string {
  if (!(error instanceof Error)) return printable(String(error))
  const text = printable(verbose ? (error.stack ?? error.message) : reasonOf(error))
  const isComplete = !verbose && (error instanceof UsageError || error instanceof RunError)
  return error.cause === undefined || isComplete ? text : `${text}\n  caused by: ${formatError(error.cause, verbose)}`
}

const reasonOf = (error: Error): string => systemReason(error) || error.message || error.name

/** A folder that was removed, or a disk that is not mounted any more, while a program is in it. */
const isFolderGone = (error: Error): boolean => (error as NodeJS.ErrnoException).syscall === 'uv_cwd'

/** The file and the reason in an error of the file system, without its code and call; its path may be long. */
function systemReason(error: Error): string | null {
  if (isFolderGone(error)) return 'the current folder does not exist any more (change to one that does, with cd)'
  const { path, syscall } = error as NodeJS.ErrnoException
  const reason = /^E[A-Z]+: (.+?), \w+ '/.exec(error.message)?.[1]
  return typeof path === 'string' && syscall !== undefined && reason
    ? `cannot use ${formatValue(path)}: ${reason}`
    : null
}
