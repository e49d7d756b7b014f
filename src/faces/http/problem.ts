/** A request that cannot be answered: the message for the sender, and the HTTP status. */
import { UsageError } from '../../core/errors.ts'

export class ProblemError extends Error {
  override readonly name = 'ProblemError'
  readonly status: ProblemStatus

  constructor(status: ProblemStatus, message: string) {
    super(message)
    this.status = status
  }
}

export type ProblemStatus = 400 | 401 | 403 | 404 | 409 | 413 | 415 | 429 | 500 | 503

/** Converts any error to a problem. */
export function problemOf(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error
  if (error instanceof UsageError) return new ProblemError(400, error.message)
  return new ProblemError(500, error instanceof Error ? error.message : String(error))
}
