/** One at a time: a step changes the parameters that an evaluation, a text or a checkpoint reads. */
export class Exclusive {
  private last: Promise<unknown> = Promise.resolve()

  /** Runs `work` when everything that came before has ended. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work)
    // A failure is that of its caller, not of the next one.
    this.last = result.catch(() => undefined)
    return result
  }
}
