/** Formats errors for the command line. */
import { formatValue } from '../config/problems.ts'

/** The message and its causes, with stack traces if `verbose`. */
export function formatError(error: unknown, verbose: boolean): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `\n  caused by: ${formatError(error.cause, verbose)}`
  const text = verbose ? (error.stack ?? error.message) : systemReason(error) || error.message || error.name
  return text + cause
}

/** The file and the reason in an error of the file system, without its code and call; its path may be long. */
function systemReason(error: Error): string | null {
  const { path, syscall } = error as NodeJS.ErrnoException
  const reason = /^E[A-Z]+: (.+?), \w+ '/.exec(error.message)?.[1]
  return typeof path === 'string' && syscall !== undefined && reason
    ? `cannot use ${formatValue(path)}: ${reason}`
    : null
}
