/**
 * A compiled program with its memory, and a run of it: the host writes the inputs, the steps are recorded into the
 * queue, and the outputs are read back at the next `synchronize`. Recording stops where the host has work between two
 * steps, such as an exchange with other ranks.
 */
import { Lifetime } from '../contract/lifetime.ts'
import type { OrderLog } from '../contract/order-log.ts'
import type { Binding, Exchanges, RunOptions, RunReport } from '../contract/runtime.ts'
import { RuntimeError, TooManyRows } from '../contract/runtime-error.ts'
import type { BoundDispatch } from './bound.ts'
import { type HostPlaces, hostMemory, type Place } from './host-memory.ts'
import type { DeviceGroup, HostWork, Operand } from './kernels/contract.ts'
import { type BoundPorts, fromDevice, toDevice } from './ports.ts'
import { type Profiler, plainRecorder } from './profile.ts'
import type { LoweredProgram } from './program/lower-program.ts'
import type { Slice } from './program/slice.ts'
import { padded, type WorkQueue } from './queue.ts'

/** Services of the runtime for a run. */
export interface RunParts {
  readonly queue: WorkQueue
  readonly profiler: Profiler | null
  /** The ranks with which programs exchange rows; null without other ranks. */
  readonly group: DeviceGroup | null
  readonly orderLog: OrderLog | null
}

/** A place between steps, after which the outputs of an early exchange are complete. */
interface Cut {
  /** Number of steps before it. */
  readonly steps: number
  readonly exchange: number
}

/** Work of the host between steps. */
interface HostStop {
  /** Number of steps before it. */
  readonly steps: number
  /** Its place among the work of the host. */
  readonly index: number
  readonly work: HostWork
  readonly places: ReadonlyMap<Operand, Place>
  readonly layer: string
}

export type Stop = Cut | HostStop

export const hostStops = ({ hostSteps }: LoweredProgram, sliceOf: (value: number) => Slice): HostStop[] =>
  hostSteps.map(({ work, steps, values, origin }, index) => {
    const places = work.operands.map((operand, i): [Operand, Place] => {
      const value = values[i] as number
      return [operand, { value, slice: sliceOf(value) }]
    })
    return { steps, index, work, places: new Map(places), layer: origin.layer }
  })

/** The cuts of a program, in order. Every step that touches an output may write it. */
export function cutsOf(
  { outputs, steps, valueOfOutput }: LoweredProgram,
  early: NonNullable<Exchanges['early']>,
): Cut[] {
  const places = new Map(outputs.map(({ name }, i) => [name, valueOfOutput[i] as number]))
  const cuts = early.map(({ after }, exchange): Cut => {
    const values = new Set(after.map((name) => places.get(name)))
    return { steps: 1 + steps.findLastIndex((step) => step.values.some((value) => values.has(value))), exchange }
  })
  return cuts.sort((a, b) => a.steps - b.steps || a.exchange - b.exchange)
}

/** An executable, under which the profiler keeps the times of its steps. */
interface Profiled {
  readonly model: LoweredProgram
}

export class DeviceBinding implements Binding {
  readonly waits = false
  private readonly parts: RunParts
  private readonly program: Profiled
  private readonly steps: readonly BoundDispatch[]
  private readonly ports: BoundPorts
  private readonly stops: readonly Stop[]
  /** Memory as the host sees it in the last run; null if the host has no work. */
  private memory: HostPlaces | null = null
  /** The last work of the host that may stop a run. */
  private readonly lastThatStops: Stop | undefined
  private readonly lifetime: Lifetime

  constructor(
    program: Profiled,
    parts: RunParts,
    steps: readonly BoundDispatch[],
    ports: BoundPorts,
    stops: readonly Stop[],
    onFreed: () => void,
  ) {
    this.program = program
    this.parts = parts
    this.steps = steps
    this.ports = ports
    this.stops = stops
    this.lastThatStops = stops.findLast((stop) => 'work' in stop && stop.work.mayStop)
    this.lifetime = new Lifetime('binding', () => {
      ports.memory?.destroy()
      onFreed()
    })
  }

  enqueue(options?: RunOptions): Promise<RunReport> {
    return this.busy(() => this.encode(options))
  }

  run(options?: RunOptions): Promise<RunReport> {
    return this.busy(async () => {
      await this.encode(options)
      await this.parts.queue.synchronize()
    })
  }

  continueRun(stopped: Binding, options?: RunOptions): Promise<RunReport> {
    const { memory } = stopped as DeviceBinding
    return this.busy(async () => {
      await this.encode(options, memory?.received)
      await this.parts.queue.synchronize()
    })
  }

  private async busy(work: () => Promise<void>): Promise<RunReport> {
    this.lifetime.expectIdle()
    this.lifetime.begin()
    try {
      await work()
      return { tickets: [], waitedMs: 0 }
    } finally {
      this.lifetime.end()
    }
  }

  /** @param received What other ranks have sent to a run that has stopped. */
  private async encode({ complete }: RunOptions = {}, received?: HostPlaces['received']): Promise<void> {
    const { queue, group, orderLog, profiler } = this.parts
    const places = new Map(this.stops.flatMap((stop) => ('places' in stop ? [...stop.places] : [])))
    this.memory = places.size > 0 ? hostMemory(queue, group, orderLog, places, received) : null
    for (const { array, dtype, slice } of this.ports.uploads)
      if (array.length > 0) queue.write(slice.buffer, slice.offset, toDevice(array, dtype))
    const recorder = profiler
      ? profiler.start(this.program, this.program.model.steps, this.steps)
      : plainRecorder(queue, this.steps)
    let recorded = 0
    for (const stop of this.stops) {
      if ('exchange' in stop && !complete) continue
      if (stop.steps > recorded) recorder.record(recorded, stop.steps)
      recorded = stop.steps
      if ('exchange' in stop) complete?.(stop.exchange)
      else if (this.memory) await runHost(stop, this.memory)
      if (stop === this.lastThatStops) this.memory?.forget()
    }
    recorder.record(recorded, this.steps.length)
    recorder.end()
    const { downloads } = this.ports
    queue.readBack(
      downloads.map(({ slice, array }) => ({ ...slice, bytes: array.length * 4 })),
      (bytes) => {
        let at = 0
        for (const { array, dtype } of downloads) {
          fromDevice(bytes, at, array, dtype)
          at += padded(array.length * 4)
        }
      },
    )
  }

  runSync(): void {
    throw new RuntimeError('internal: a program on a GPU has no synchronous run')
  }

  release(): void {
    this.lifetime.release()
  }
}

/** Names the layer at fault if its rows do not fit. */
async function runHost({ index, work, layer }: HostStop, memory: HostPlaces): Promise<void> {
  memory.enter(index)
  try {
    await work.run(memory)
  } catch (error) {
    if (error instanceof TooManyRows) throw new TooManyRows(error.rows, error.room, layer)
    throw error
  }
}
