/** A compiled program: a lowered program with its pipelines and constants. Binding it gives every value a place in a buffer. */
import type { DType } from '../../core/graph/model.ts'
import { checkBuffers } from '../contract/buffers.ts'
import { Lifetime } from '../contract/lifetime.ts'
import type { OrderLog } from '../contract/order-log.ts'
import type {
  Binding,
  Exchanges,
  Executable,
  PortMemory,
  ProgramMemory,
  RunOptions,
  RunReport,
} from '../contract/runtime.ts'
import { RuntimeError, TooManyRows } from '../contract/runtime-error.ts'
import type { NodeTime, StepEvent } from '../contract/times.ts'
import { BUFFER_USAGE } from './arena.ts'
import { type BoundDispatch, bindDispatch } from './bound.ts'
import type { DeviceGroup, HostWork, Operand } from './contract.ts'
import type { Device } from './device.ts'
import { type HostPlaces, hostMemory, type Place } from './host-memory.ts'
import { moduleOf } from './module.ts'
import { type BoundPorts, bindPorts, fromDevice, toDevice } from './ports.ts'
import { type Profiler, plainRecorder } from './profile.ts'
import { bytesOfValue, type LoweredProgram, type Step, type Value } from './program/lower-program.ts'
import { padded, type WorkQueue } from './queue.ts'
import { ALIGNMENT, type Slice } from './slice.ts'

/** Services of the runtime for its programs. */
export interface ProgramParts {
  readonly device: Device
  readonly queue: WorkQueue
  readonly profiler: Profiler | null
  /** Memory of at least `bytes`, which all programs of the runtime use in turn. */
  memory(bytes: number): GPUBuffer
  /** The ranks with which programs exchange rows; null without other ranks. */
  readonly group: DeviceGroup | null
  readonly orderLog: OrderLog | null
  /** The device memory of each array that a bound program writes. */
  readonly outputs: WeakMap<object, Slice>
  onFreed(executable: DeviceExecutable): void
}

export class DeviceExecutable implements Executable {
  readonly model: LoweredProgram
  private readonly parts: ProgramParts
  private readonly constants: ReadonlyMap<number, Slice>
  private readonly constantMemory: GPUBuffer | null
  private readonly gridMemory: GPUBuffer | null
  private readonly bindings = new Set<DeviceBinding>()
  private readonly lifetime = new Lifetime('executable', () => this.free())

  constructor(parts: ProgramParts, program: LoweredProgram) {
    this.parts = parts
    this.model = program
    const { memory, slices } = uploadConstants(parts.device.gpu, program)
    this.constantMemory = memory
    this.constants = slices
    const grids = program.grids.size * ALIGNMENT
    this.gridMemory = grids > 0 ? parts.device.gpu.createBuffer({ size: grids, usage: BUFFER_USAGE }) : null
  }

  /** Compiles the pipelines of a program in parallel. @throws RuntimeError if its values do not fit into a buffer */
  static async compile(parts: ProgramParts, program: LoweredProgram): Promise<DeviceExecutable> {
    const { maxBufferSize } = parts.device.gpu.limits
    if (program.bytes > maxBufferSize)
      throw new RuntimeError(
        `out of memory: the activations of a micro-batch need ${gib(program.bytes)} (this GPU has buffers of at most ` +
          `${gib(maxBufferSize)}; use a smaller train.batch or more train.microBatches)`,
      )
    const codes = program.steps.map((step) =>
      moduleOf(
        step.dispatch,
        step.values.map((_, i) => i),
      ),
    )
    await parts.device.compile(codes.map((code, i) => ({ code, label: (program.steps[i] as Step).dispatch.name })))
    return new DeviceExecutable(parts, program)
  }

  get memoryBytes(): number {
    return this.model.bytes
  }

  bind(memory: Readonly<Record<string, PortMemory>>, _within?: ProgramMemory, { early = [] }: Exchanges = {}): Binding {
    this.lifetime.expectUsable()
    const { model, parts } = this
    checkBuffers([...model.inputs, ...model.outputs], memory)
    const ports = bindPorts(parts.device.gpu, model, memory)
    for (const { array, slice } of ports.downloads) parts.outputs.set(array, slice)
    const values = parts.memory(Math.max(model.bytes, ALIGNMENT))
    const sliceOf = (value: number): Slice => {
      const grid = model.grids.get(value)
      if (grid !== undefined) return { buffer: this.gridMemory as GPUBuffer, offset: grid, bytes: 12 }
      const found = ports.slices.get(value) ?? this.constants.get(value)
      const bytes = bytesOfValue(model.values[value] as Value)
      return found ?? { buffer: values, offset: model.offsets[value] ?? 0, bytes }
    }
    const steps = model.steps.map((step) =>
      bindDispatch(parts.device, step.dispatch, {
        slices: step.values.map(sliceOf),
        indirect: step.indirect === null ? null : sliceOf(step.indirect),
        where: step.origin.layer,
      }),
    )
    const stops = [...cutsOf(model, early), ...hostStops(model, sliceOf)].sort((a, b) => a.steps - b.steps)
    const binding: DeviceBinding = new DeviceBinding(this, parts, steps, ports, stops, () => {
      for (const { array } of ports.downloads) parts.outputs.delete(array)
      this.bindings.delete(binding)
      this.lifetime.end()
    })
    this.bindings.add(binding)
    this.lifetime.begin()
    return binding
  }

  profile(): readonly NodeTime[] {
    if (!this.parts.profiler) throw new RuntimeError('internal: no profile (create the runtime with profile: true)')
    this.parts.profiler.end(this)
    return this.parts.profiler.times(this)
  }

  resetProfile(): void {
    this.parts.profiler?.reset(this)
  }

  lastRun(): readonly StepEvent[] {
    return this.parts.profiler?.lastRun(this) ?? []
  }

  release(): void {
    for (const binding of [...this.bindings]) binding.release()
    this.lifetime.release()
  }

  private free(): void {
    this.constantMemory?.destroy()
    this.gridMemory?.destroy()
    this.parts.onFreed(this)
  }
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

type Stop = Cut | HostStop

const hostStops = ({ hostSteps }: LoweredProgram, sliceOf: (value: number) => Slice): HostStop[] =>
  hostSteps.map(({ work, steps, values, origin }, index) => {
    const places = work.operands.map((operand, i): [Operand, Place] => {
      const value = values[i] as number
      return [operand, { value, slice: sliceOf(value) }]
    })
    return { steps, index, work, places: new Map(places), layer: origin.layer }
  })

/** The cuts of a program, in order. Every step that touches an output may write it. */
function cutsOf({ outputs, steps, valueOfOutput }: LoweredProgram, early: NonNullable<Exchanges['early']>): Cut[] {
  const places = new Map(outputs.map(({ name }, i) => [name, valueOfOutput[i] as number]))
  const cuts = early.map(({ after }, exchange): Cut => {
    const values = new Set(after.map((name) => places.get(name)))
    return { steps: 1 + steps.findLastIndex((step) => step.values.some((value) => values.has(value))), exchange }
  })
  return cuts.sort((a, b) => a.steps - b.steps || a.exchange - b.exchange)
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`

/** Uploads the constants that dispatches read into a buffer. */
function uploadConstants(gpu: GPUDevice, { values, steps }: LoweredProgram) {
  const read = new Set(steps.flatMap((step) => step.values))
  const slices = new Map<number, Slice>()
  const placed: { data: Float32Array | Int32Array; offset: number }[] = []
  let bytes = 0
  values.forEach(({ constant, dtype }, value) => {
    if (!constant || !read.has(value)) return
    placed.push({ data: toDevice(constant, dtype as DType), offset: bytes })
    bytes += padded(constant.length * 4)
  })
  if (bytes === 0) return { memory: null, slices }
  const memory = gpu.createBuffer({ size: bytes, usage: BUFFER_USAGE })
  let next = 0
  values.forEach(({ constant, size }, value) => {
    if (!constant || !read.has(value)) return
    const { data, offset } = placed[next++] as (typeof placed)[number]
    if (size > 0) gpu.queue.writeBuffer(memory, offset, data as Float32Array<ArrayBuffer>)
    slices.set(value, { buffer: memory, offset, bytes: Math.max(4, size * 4) })
  })
  return { memory, slices }
}

class DeviceBinding implements Binding {
  readonly waits = false
  private readonly parts: ProgramParts
  private readonly program: DeviceExecutable
  private readonly steps: readonly BoundDispatch[]
  private readonly ports: BoundPorts
  private readonly stops: readonly Stop[]
  /** Memory as the host sees it in the last run; null if the host has no work. */
  private memory: HostPlaces | null = null
  /** The last work of the host that may stop a run. */
  private readonly lastThatStops: Stop | undefined
  private readonly lifetime: Lifetime

  constructor(
    program: DeviceExecutable,
    parts: ProgramParts,
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
