/**
 * The barrier at which the threads of a crew meet after each step. They share a few integers: the current step,
 * the number of threads that have reached its end, the next task, and the step that failed. A waiting thread spins
 * for some tens of microseconds, since the next step usually follows at once, and then sleeps, so that it does not
 * take a core from other threads.
 */
const STEP = 0
const ARRIVED = 1
const TASK = 2
const FAILED = 3
const NONE = -1

export const CONTROL_BYTES = 64

/** Number of reads of the shared integer before a thread sleeps, which take some tens of microseconds. */
const MAX_SPINS = 20_000

export class Barrier {
  private readonly control: Int32Array
  private readonly threads: number

  constructor(buffer: SharedArrayBuffer, threads: number) {
    this.control = new Int32Array(buffer)
    this.threads = threads
  }

  /** Index of the next task of this step; it may be past the last one. */
  takeTask(): number {
    return Atomics.add(this.control, TASK, 1)
  }

  /**
   * Marks a step as failed; after the barrier at its end all threads leave the program. The index of the step
   * matters, because a late thread may check when another is already one step further.
   * @returns Whether this thread is the first that fails.
   */
  fail(step: number): boolean {
    return Atomics.compareExchange(this.control, FAILED, NONE, step) === NONE
  }

  failed(step: number): boolean {
    return Atomics.load(this.control, FAILED) === step
  }

  /** Call before a run, while all threads are idle. */
  reset(): void {
    Atomics.store(this.control, FAILED, NONE)
    Atomics.store(this.control, TASK, 0)
  }

  /** Returns after every thread has arrived. @param sleep Whether to sleep without spinning first. */
  wait(sleep = false): void {
    const { control } = this
    const step = Atomics.load(control, STEP)
    if (Atomics.add(control, ARRIVED, 1) === this.threads - 1) {
      Atomics.store(control, ARRIVED, 0)
      Atomics.store(control, TASK, 0)
      Atomics.add(control, STEP, 1)
      Atomics.notify(control, STEP)
      return
    }
    for (let i = sleep ? MAX_SPINS : 0; i < MAX_SPINS; i++) if (Atomics.load(control, STEP) !== step) return
    while (Atomics.load(control, STEP) === step) Atomics.wait(control, STEP, step)
  }
}
