/**
 * A compiled program: a lowered program with its pipelines and constants. Binding it gives every value a place in a
 * buffer (`binding.ts` runs it).
 */
import type { DType } from '../../core/graph/model.ts'
import { checkBuffers } from '../contract/buffers.ts'
import { Lifetime } from '../contract/lifetime.ts'
import type { Binding, Exchanges, Executable, PortMemory, ProgramMemory } from '../contract/runtime.ts'
import { RuntimeError } from '../contract/runtime-error.ts'
import type { NodeTime, StepEvent } from '../contract/times.ts'
import { BUFFER_USAGE } from './arena.ts'
import { cutsOf, DeviceBinding, hostStops, type RunParts } from './binding.ts'
import { bindDispatch } from './bound.ts'
import type { Device } from './device.ts'
import { moduleOf } from './module.ts'
import { bindPorts, toDevice } from './ports.ts'
import { bytesOfValue, type LoweredProgram, type Step, type Value } from './program/lower-program.ts'
import { ALIGNMENT, type Slice } from './program/slice.ts'
import { padded } from './queue.ts'

/** Services of the runtime for its programs. */
export interface ProgramParts extends RunParts {
  readonly device: Device
  /** Memory of at least `bytes`, which all programs of the runtime use in turn. */
  memory(bytes: number): GPUBuffer
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
