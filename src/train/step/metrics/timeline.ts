/**
 * Records where the time of training steps goes. The programs and kernels of a step run one after the other and report
 * their own times; the rest of the step is JavaScript, and waiting between them.
 */
import { now } from '../../../engine/contract/recording.ts'
import type { NodeTime, StepEvent } from '../../../engine/contract/times.ts'

export interface RecordedSteps {
  /** Number of steps since the recording was last reset. */
  readonly steps: number
  /** Wall time of those steps, microseconds. */
  readonly microseconds: number
  /** Times over those steps; their sum is at most the wall time. */
  readonly nodes: readonly NodeTime[]
}

/** Thread number of the thread that runs JavaScript. */
export const JAVASCRIPT = -1

/** Begin and end, in milliseconds since the epoch, with fractions. */
export interface Interval {
  readonly begin: number
  readonly end: number
}

/** Records the work of the JavaScript thread in a step, for a trace. */
export class Timeline {
  private recorded: StepEvent[] = []
  private met: Interval[] = []

  get events(): readonly StepEvent[] {
    return this.recorded
  }

  /** Exchanges that all ranks take part in, in the same sequence on every rank. */
  get meetings(): readonly Interval[] {
    return this.met
  }

  clear(): void {
    this.recorded = []
    this.met = []
  }

  /** Runs `work` and records when it began and ended. */
  async time<T>(op: string, work: () => Promise<T>, layer = ''): Promise<T> {
    const begin = now()
    const result = await work()
    this.recorded.push({ thread: JAVASCRIPT, name: 'JavaScript', op, layer, begin, end: now() })
    return result
  }

  /**
   * Does the same as {@link time} for an exchange with all other ranks, which no rank can leave before all have come.
   */
  async meet<T>(op: string, work: () => Promise<T>): Promise<T> {
    const result = await this.time(op, work)
    this.met.push(this.recorded.at(-1) as StepEvent)
    return result
  }
}
