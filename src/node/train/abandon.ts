/** Ends the wait for work that cannot be stopped, such as compiling in native code. */

/** Error if work was left to end by itself, since a training was asked to stop before its first step. */
export class Abandoned extends Error {
  override readonly name = 'Abandoned'
}

/** The result of the work. @throws Abandoned as soon as the signal is aborted; the work then ends by itself. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work
  return new Promise((resolve, reject) => {
    const abandon = () => reject(new Abandoned('the training was asked to stop'))
    if (signal.aborted) abandon()
    signal.addEventListener('abort', abandon, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abandon))
  })
}
