/** Runs calls one at a time, because a step changes the parameters that an evaluation, a text or a checkpoint reads. */
export class Exclusive {
  private last: Promise<unknown> = Promise.resolve()

  /** Runs `work` when everything that came before has ended. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work)
    // A failure is reported to its own caller; the next call runs all the same.
    this.last = result.catch(() => undefined)
    return result
  }
}
