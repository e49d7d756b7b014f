/**
 * Where the time of training steps goes. The programs and kernels of a step run one after the other and
 * report their own times; the rest of the step is JavaScript, and waiting between them.
 */
import { now } from '../runtime/recording.ts'
import type { NodeTime, StepEvent } from '../runtime/times.ts'

export interface RecordedSteps {
  /** Steps since the recording was last reset. */
  readonly steps: number
  /** Wall time of those steps, microseconds. */
  readonly microseconds: number
  /** Times over those steps; their sum is at most the wall time. */
  readonly nodes: readonly NodeTime[]
}

/** Thread number of the thread that runs JavaScript. */
export const JAVASCRIPT = -1

/** Records the work of the JavaScript thread in a step, for a trace. */
export class Timeline {
  private recorded: StepEvent[] = []

  get events(): readonly StepEvent[] {
    return this.recorded
  }

  clear(): void {
    this.recorded = []
  }

  /** Runs `work` and records when it began and ended. */
  async time<T>(op: string, work: () => Promise<T>, layer = ''): Promise<T> {
    const begin = now()
    const result = await work()
    this.recorded.push({ thread: JAVASCRIPT, name: 'JavaScript', op, layer, begin, end: now() })
    return result
  }
}
