/** Ends a study in which every run fails in the same way, for example because its text or its device is missing. */
import { RunError } from '../../../core/errors.ts'
import type { RunRecord } from '../contract.ts'

/** Number of equal failures in a row, with no run finished, after which the study stops. */
const MAX_FAILURES = 8

/** The failures of the last runs, in a row. */
export class EqualFailures {
  private errors: string[] = []
  private anyFinished = false

  /** Notes that a run of the study finished, here or elsewhere: it can continue whatever fails. */
  noteFinished(): void {
    this.anyFinished = true
  }

  /** @throws RunError if the last runs failed in the same way, and none has finished */
  note(record: RunRecord): void {
    if (record.status === 'finished') this.noteFinished()
    this.errors = record.status === 'failed' ? [...this.errors, record.error] : []
    const last = this.errors.slice(-MAX_FAILURES)
    const kinds = new Set(last.map(withoutDetails))
    if (last.length === MAX_FAILURES && kinds.size === 1 && !this.anyFinished)
      throw new RunError(`the last ${MAX_FAILURES} runs failed in the same way: ${last[0]}`)
  }
}

/** Errors that differ only in paths and numbers are equal. */
const withoutDetails = (error: string): string =>
  error.replace(/\S+/g, (word) => (/[\\/]/.test(word) ? '' : word.replace(/\d+/g, '')))
