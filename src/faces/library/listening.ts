/**
 * Listeners that callers of the library give. An async listener returns a promise, which nothing awaits while the work
 * goes on. If the promise rejects, its error ends the work; otherwise the rejection would be unhandled, and end the
 * process.
 */

/**
 * Runs `work` with a listener. An error that the listener throws is thrown where the event was emitted. If a promise
 * that it returns rejects, the signal of `work` is aborted, and the error is thrown after the work and all promises
 * have ended.
 */
export async function listening<Args extends unknown[], T>(
  listener: ((...args: Args) => unknown) | undefined,
  work: (emit: (...args: Args) => void, failed: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController()
  const pending = new Set<Promise<void>>()
  let failure: { readonly error: unknown } | undefined
  const emit = (...args: Args): void => {
    const returned = listener?.(...args)
    if (!isThenable(returned)) return
    const ended: Promise<void> = Promise.resolve(returned).then(
      () => void pending.delete(ended),
      (error: unknown) => {
        pending.delete(ended)
        failure ??= { error }
        controller.abort(error)
      },
    )
    pending.add(ended)
  }
  try {
    return await work(emit, controller.signal)
  } finally {
    await Promise.all(pending)
    // biome-ignore lint/correctness/noUnsafeFinally: the error of the listener is the cause of the error of the work
    if (failure) throw failure.error
  }
}

/** A signal that is aborted when either of two signals is. */
export const eitherSignal = (signal: AbortSignal | undefined, other: AbortSignal): AbortSignal =>
  signal ? AbortSignal.any([signal, other]) : other

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
