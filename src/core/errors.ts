/**
 * Errors that a user can cause. The message names the field, the value given, what is accepted and
 * what to do; the command line prints it without a stack trace.
 */

/** The request itself is impossible or misspelt: exit code 2. */
export class UsageError extends Error {
  override readonly name: string = 'UsageError'
}

/** The request is valid but could not be carried out (a full disk, a corrupt file): exit code 1. */
export class RunError extends Error {
  override readonly name: string = 'RunError'
}
