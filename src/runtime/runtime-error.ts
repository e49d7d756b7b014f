import { RunError } from '../errors.ts'

/** An error of the engine in the user's terms. `internal:` at the start means a bug of ours. */
export class RuntimeError extends RunError {
  override readonly name = 'RuntimeError'
}
