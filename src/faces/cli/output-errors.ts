/**
 * Standard output and standard error that cannot be written to. A reader that has closed the pipe wants no more: the
 * command stops. Any other failure, such as a full disk, is reported once, and the command goes on: a training has its
 * results in the run directory. It ends with exit code 1 then, as other programs do whose output is incomplete.
 */
export interface OutputErrors {
  /** Whether a reader has closed one of the streams. */
  readonly isClosed: boolean
  /** The exit code, of a command that ends with `code`. */
  exitCode(code: number): number
  /** Calls `handler` when a reader closes a stream, or at once if one has. Returns a function that unsubscribes. */
  onClosed(handler: () => void): () => void
}

export function watchOutputErrors(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): OutputErrors {
  const handlers = new Set<() => void>()
  let [isClosed, isIncomplete] = [false, false]
  for (const stream of [stdout, stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // EIO: a terminal that has been closed, such as the one that mpirun of Open MPI gives a rank.
      if (error.code === 'EPIPE' || (error.code === 'EIO' && stream.isTTY)) {
        isClosed = true
        for (const handler of handlers) handler()
      } else if (stream === stdout && !isIncomplete) {
        isIncomplete = true
        stderr.write(`choir: cannot write to standard output: ${error.message}\n`)
      }
    })
  return {
    get isClosed() {
      return isClosed
    },
    exitCode: (code) => (code === 0 && isIncomplete ? 1 : code),
    onClosed(handler) {
      if (isClosed) handler()
      handlers.add(handler)
      return () => handlers.delete(handler)
    },
  }
}
