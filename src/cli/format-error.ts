/** Formats errors for the command line. */

/** The message and its causes, with stack traces if `verbose`. */
export function formatError(error: unknown, verbose: boolean): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `\n  caused by: ${formatError(error.cause, verbose)}`
  const text = verbose ? (error.stack ?? error.message) : error.message || error.name
  return text + cause
}
