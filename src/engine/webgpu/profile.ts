/**
 * Measures the times of dispatches by timestamp queries. While a program is recorded, every dispatch has a pass of its
 * own, so it is somewhat slower.
 */
import { now } from '../contract/recording.ts'
import type { NodeTime, StepEvent } from '../contract/times.ts'
import { type BoundDispatch, record, recordAll } from './bound.ts'
import type { Step } from './program/lower-program.ts'
import type { WorkQueue } from './queue.ts'

/** Maximum number of queries of a set. */
const MAX_QUERIES = 4096

/** The parts of a step that a profile reports. */
export type ProfiledStep = Pick<Step, 'dispatch' | 'origin' | 'work'>

interface Recorded {
  readonly steps: readonly ProfiledStep[]
  readonly queries: readonly GPUQuerySet[]
  readonly resolved: GPUBuffer
  /** Total time of each step since the last reset, nanoseconds. */
  readonly sums: Float64Array
  runs: number
  /** Whether the recording has ended. */
  isOver: boolean
  /** Begin and end of each step in the last run, nanoseconds of the device's clock. */
  last: BigUint64Array
  /** When the last run had ended, milliseconds since the epoch. */
  ended: number
}

/** Records the steps of a run in order, part by part. */
export interface StepRecorder {
  /** Records the steps from `from` to before `to`. */
  record(from: number, to: number): void
  /** Ends the run. */
  end(): void
}

/** Records steps without their times. */
export const plainRecorder = (queue: WorkQueue, bound: readonly BoundDispatch[]): StepRecorder => ({
  record: (from, to) => recordAll(queue, bound.slice(from, to)),
  end() {},
})

export class Profiler {
  private readonly gpu: GPUDevice
  private readonly queue: WorkQueue
  private readonly recorded = new Map<object, Recorded>()

  /** @param gpu A device with the feature `timestamp-query`. */
  constructor(gpu: GPUDevice, queue: WorkQueue) {
    this.gpu = gpu
    this.queue = queue
  }

  /** Begins to record a run of steps, each bound. */
  start(program: object, steps: readonly ProfiledStep[], bound: readonly BoundDispatch[]): StepRecorder {
    const { queue } = this
    const recorded = this.recorded.get(program) ?? this.open(steps)
    this.recorded.set(program, recorded)
    return recorded.isOver ? plainRecorder(queue, bound) : this.timed(recorded, bound)
  }

  /** Records a run of steps, each bound. */
  run(program: object, steps: readonly ProfiledStep[], bound: readonly BoundDispatch[]): void {
    const recorder = this.start(program, steps, bound)
    recorder.record(0, steps.length)
    recorder.end()
  }

  private timed(recorded: Recorded, bound: readonly BoundDispatch[]): StepRecorder {
    const { queue } = this
    const { queries, resolved, steps } = recorded
    return {
      record(from, to) {
        for (let step = from; step < to; step++) {
          const [set, at] = [queries[Math.floor((2 * step) / MAX_QUERIES)] as GPUQuerySet, (2 * step) % MAX_QUERIES]
          const timestamps = { querySet: set, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 }
          record(bound[step] as BoundDispatch, queue.pass(timestamps))
          queue.endPass()
        }
      },
      end: () => {
        queue.record((encoder) => {
          queries.forEach((set, i) => {
            encoder.resolveQuerySet(set, 0, set.count, resolved, i * MAX_QUERIES * 8)
          })
        })
        queue.readBack([{ buffer: resolved, offset: 0, bytes: steps.length * 16 }], (bytes) => {
          recorded.last = new BigUint64Array(bytes.slice(0, steps.length * 16))
          recorded.ended = now()
          recorded.runs++
          for (const step of steps.keys())
            recorded.sums[step] = (recorded.sums[step] as number) + this.nanoseconds(recorded, step)
        })
      },
    }
  }

  private open(steps: readonly ProfiledStep[]): Recorded {
    const count = Math.max(1, 2 * steps.length)
    const queries: GPUQuerySet[] = []
    for (let from = 0; from < count; from += MAX_QUERIES)
      queries.push(this.gpu.createQuerySet({ type: 'timestamp', count: Math.min(MAX_QUERIES, count - from) }))
    const resolved = this.gpu.createBuffer({
      size: Math.ceil((count * 8) / 256) * 256,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    })
    return {
      steps,
      queries,
      resolved,
      sums: new Float64Array(steps.length),
      runs: 0,
      isOver: false,
      last: new BigUint64Array(count),
      ended: 0,
    }
  }

  private nanoseconds({ last }: Recorded, step: number): number {
    return Math.max(0, Number((last[2 * step + 1] as bigint) - (last[2 * step] as bigint)))
  }

  /** Ends the recording of a program. */
  end(program: object): void {
    const recorded = this.recorded.get(program)
    if (recorded) recorded.isOver = true
  }

  /** Times since the last reset, of each kernel call or group. */
  times(program: object): NodeTime[] {
    const recorded = this.recorded.get(program)
    if (!recorded || recorded.runs === 0) return []
    const { steps, sums, runs } = recorded
    return steps.map(({ dispatch, origin, work }, i) => ({
      kind: dispatch.name,
      provider: 'WebGPU' as const,
      ...origin,
      runs,
      microseconds: (sums[i] as number) / 1000,
      ...(work && { flops: work.flops * runs, bytes: work.bytes * runs }),
    }))
  }

  reset(program: object): void {
    const recorded = this.recorded.get(program)
    recorded?.sums.fill(0)
    if (recorded) recorded.runs = 0
  }

  /** The steps of the last run. The end of the run relates the device's clock to the clock of JavaScript. */
  lastRun(program: object): StepEvent[] {
    const recorded = this.recorded.get(program)
    if (!recorded) return []
    const { steps, last, ended } = recorded
    const end = last[2 * steps.length - 1] as bigint
    const at = (time: bigint) => ended - Number(end - time) / 1e6
    return steps.map(({ dispatch, origin }, i) => ({
      thread: 0,
      name: dispatch.name,
      ...origin,
      begin: at(last[2 * i] as bigint),
      end: at(last[2 * i + 1] as bigint),
    }))
  }
}
