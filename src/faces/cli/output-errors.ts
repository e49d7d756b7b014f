/**
 * Handles failed writes to standard output and standard error. If the reader has closed the pipe, the command stops.
 * Any other failure of standard output, such as a full disk, is reported once, and the command goes on, since a
 * training has its results in the run directory. The command then ends with exit code 1, as is usual for incomplete
 * output.
 */
export interface OutputErrors {
  /** Whether a reader has closed one of the streams. */
  readonly isClosed: boolean
  /** The exit code of the process after its command has ended with `code`. */
  exitCode(code: number): number
  /** Calls `handler` when a reader closes a stream, or at once if one has. Returns a function that unsubscribes. */
  onClosed(handler: () => void): () => void
}

export function watchOutputErrors(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): OutputErrors {
  const handlers = new Set<() => void>()
  let [isClosed, isIncomplete] = [false, false]
  for (const stream of [stdout, stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // EIO means that the terminal was closed, such as the terminal that mpirun of Open MPI gives a rank.
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
