import { RunError } from '../../core/errors.ts'

/** An error while compiling or running a program. A message that begins with `internal:` means a bug of ours. */
export class RuntimeError extends RunError {
  override readonly name = 'RuntimeError'
}

/** Memory that a program needs is not available. */
export class OutOfMemory extends RuntimeError {
  /** False if the machine has the memory, but other programs use it: it may be free for a later run. */
  override readonly isComputed: boolean

  constructor(message: string, isComputed = true) {
    super(message)
    this.isComputed = isComputed
  }
}

/**
 * A run has stopped because more rows arrive for the experts of this rank than its program has room for. None of these
 * rows has left its rank, so the run can continue in a program with more room (`Binding.continueRun`).
 */
export class TooManyRows extends RuntimeError {
  readonly rows: number
  readonly room: number
  /** Name of the layer at fault, as in profiles; empty if it is not known. */
  readonly layer: string

  constructor(rows: number, room: number, layer = '') {
    super(`${layer && `${layer}: `}the experts of this rank get ${rows} rows, but there is room for ${room}`)
    this.rows = rows
    this.room = room
    this.layer = layer
  }
}
