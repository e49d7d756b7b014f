import { RunError } from '../../core/errors.ts'

/** An error while compiling or running a program. A message that begins with `internal:` means a bug of ours. */
export class RuntimeError extends RunError {
  override readonly name = 'RuntimeError'
}
