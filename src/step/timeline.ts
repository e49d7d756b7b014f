/**
 * Where the time of training steps goes. The programs and kernels of a step run one after the other and
 * tell their own times; what is left of the step is JavaScript's, and waiting between them.
 */

import { now } from '../runtime/recording.ts'
import type { NodeTime, StepEvent } from '../runtime/times.ts'

export interface RecordedSteps {
  /** Steps that count: those before the recording began anew do not. */
  readonly steps: number
  /** Wall time of those steps, microseconds. */
  readonly microseconds: number
  /** Over those steps; together at most the wall time. */
  readonly nodes: readonly NodeTime[]
}

/** In place of a thread's number: the thread that JavaScript runs on. */
export const JAVASCRIPT = -1

/** What the JavaScript thread did in a step, for a trace. */
export class Timeline {
  private recorded: StepEvent[] = []

  get events(): readonly StepEvent[] {
    return this.recorded
  }

  clear(): void {
    this.recorded = []
  }

  /** Runs `work` and notes when it began and ended. */
  async time<T>(op: string, work: () => Promise<T>, layer = ''): Promise<T> {
    const begin = now()
    const result = await work()
    this.recorded.push({ thread: JAVASCRIPT, name: 'JavaScript', op, layer, begin, end: now() })
    return result
  }
}
