/**
 * How the threads of a crew meet. They share a few integers: which step has begun, how many have arrived
 * at its end, and the next task to take. A waiting thread watches for some tens of microseconds, since the next
 * step mostly follows at once, and then sleeps: it must not take a core from whoever still works.
 */
const STEP = 0
const ARRIVED = 1
const TASK = 2
const FAILED = 3
const NONE = -1

export const CONTROL_BYTES = 64

/** Looks at the shared integer that many times before sleeping: some tens of microseconds. */
const PATIENCE = 20_000

export class Meeting {
  private readonly control: Int32Array
  private readonly threads: number

  constructor(buffer: SharedArrayBuffer, threads: number) {
    this.control = new Int32Array(buffer)
    this.threads = threads
  }

  /** The next task of this step; the caller stops at one that does not exist. */
  take(): number {
    return Atomics.add(this.control, TASK, 1)
  }

  /**
   * A step has failed on this thread; after the meeting at its end all threads leave the program. The number
   * of the step matters: a thread that is late may look only when another is a step further.
   * @returns Whether this thread is the first that says so.
   */
  fail(step: number): boolean {
    return Atomics.compareExchange(this.control, FAILED, NONE, step) === NONE
  }

  failed(step: number): boolean {
    return Atomics.load(this.control, FAILED) === step
  }

  /** Before a run, while all threads wait for it. */
  reset(): void {
    Atomics.store(this.control, FAILED, NONE)
    Atomics.store(this.control, TASK, 0)
  }

  /** Returns when every thread has arrived. @param sleep Without watching first. */
  meet(sleep = false): void {
    const { control } = this
    const step = Atomics.load(control, STEP)
    if (Atomics.add(control, ARRIVED, 1) === this.threads - 1) {
      Atomics.store(control, ARRIVED, 0)
      Atomics.store(control, TASK, 0)
      Atomics.add(control, STEP, 1)
      Atomics.notify(control, STEP)
      return
    }
    for (let i = sleep ? PATIENCE : 0; i < PATIENCE; i++) if (Atomics.load(control, STEP) !== step) return
    while (Atomics.load(control, STEP) === step) Atomics.wait(control, STEP, step)
  }
}
